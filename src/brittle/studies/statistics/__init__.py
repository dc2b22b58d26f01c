"""Statistics of studies: tables seeds x strengths, tests with seeds as blocks, intervals over seeds. Free of torch."""

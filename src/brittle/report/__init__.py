"""The report: result records to one offline page, terminal tables and JUnit. Never imports torch."""

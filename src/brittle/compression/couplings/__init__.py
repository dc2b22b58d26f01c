"""Which channels, neurons and heads can only go together, and how they go."""

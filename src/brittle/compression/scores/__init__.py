"""How much each unit matters: one score in one file."""

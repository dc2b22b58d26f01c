"""How much each part of a network should keep: what it costs to shrink it, and what the whole may spend."""

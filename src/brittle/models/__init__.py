"""Models: architectures with a recipe, weight files, and the one front door that loads any model by name."""

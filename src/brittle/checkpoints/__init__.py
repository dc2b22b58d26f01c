"""Checkpoints read from their files, matrix by matrix, of any size: structure without a model, data or attacks."""

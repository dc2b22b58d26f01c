"""Compression of trained networks: real smaller shapes, never masks."""

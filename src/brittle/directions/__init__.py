"""Sensitive directions: of a layer's weights, and of a whole network on data."""

"""Submodules of an architecture that were replaced by smaller ones, as data."""

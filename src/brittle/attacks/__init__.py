"""Attacks: searches for perturbations inside a threat that change a model's answer."""

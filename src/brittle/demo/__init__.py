"""The demo: what three ways of compressing a digits network do to its robustness, end to end."""

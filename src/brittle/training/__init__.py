"""Training. Everything random comes from an explicit seed; the test split is never read."""

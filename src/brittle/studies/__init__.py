"""Studies: a question, a grid of trials, measurements, and a verdict by a criterion written before the run."""

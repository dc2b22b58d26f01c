"""Images and labels: where they come from, how they are split, and the checks they pass before anything runs."""

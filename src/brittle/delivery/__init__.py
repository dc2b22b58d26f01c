"""From a network and a size to a smaller network that was recovered, measured and written."""

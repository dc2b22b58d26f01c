"""Accuracies, their intervals, and checks that the numbers mean what they say."""

"""A training run in a few lines, for the terminal."""

from __future__ import annotations

from brittle.report.training_lines import looks
from brittle.report.training_rows import facts, training_headline
from brittle.results.training import TrainingHistory


def training_summary(history: TrainingHistory) -> tuple[str, ...]:
    """The headline, then one line for each robust accuracy."""
    robust = [fact for fact in facts(history, looks(history)) if fact[0].startswith("under attack")]
    return (training_headline(history), *(f"{label}: {value} ({detail})" for label, value, detail in robust))

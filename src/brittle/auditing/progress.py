"""Progress of a part, told as progress of the whole."""

from __future__ import annotations

from brittle.evaluation.progress import Progress


def prefixed(progress: Progress | None, prefix: str) -> Progress | None:
    """The callback with `prefix` before every stage's name; None stays None."""
    if progress is None:
        return None
    return lambda stage, done, total: progress(prefix + stage, done, total)

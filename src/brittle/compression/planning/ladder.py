"""Values between the rungs of a ladder."""

from __future__ import annotations

from collections.abc import Sequence
from math import log


def interpolated(sizes: Sequence[int], values: Sequence[float], size: float) -> float:
    """The value at `size` on falling `sizes`, linear in the logarithm of the size; the end's value beyond an end."""
    if size >= sizes[0]:
        return values[0]
    for i in range(1, len(sizes)):
        if size >= sizes[i]:
            share = (log(sizes[i - 1]) - log(size)) / (log(sizes[i - 1]) - log(sizes[i]))
            return values[i - 1] + share * (values[i] - values[i - 1])
    return values[-1]

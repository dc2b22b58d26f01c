"""Which pairs of neighbouring layers to align: a minimum-weight matching on a path.

Pairs of a set S may not share a layer. With weights `log A(l)` the best S makes `prod_{l in S} A(l)` smallest; along
a chain of n layers dynamic programming finds it in O(n) (Theorem 3.2; theory section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from brittle.errors import UsageError


def smallest_matching(weights: Sequence[float | None]) -> tuple[tuple[int, ...], float]:
    """The set of non-neighbouring positions whose weights have the smallest sum, and that sum (0 for the empty set).

    `weights[l]` belongs to the pair of layers l and l + 1; None forbids it (a cut of the chain), and a weight >= 0 is
    never taken. Ties leave a pair out.

    Raises:
        UsageError: a weight that is NaN.
    """
    if any(w is not None and isnan(w) for w in weights):
        raise UsageError("a matching needs weights that are numbers, or None for pairs that are not allowed, got NaN")
    # best[l]: the smallest sum within the first l pairs; taking pair l - 1 rules out pair l - 2.
    best = [0.0]
    taken: list[bool] = []
    for position, weight in enumerate(weights):
        before = best[max(0, position - 1)]
        with_pair = before + weight if weight is not None else best[position]
        taken.append(with_pair < best[position])
        best.append(min(with_pair, best[position]))
    chosen: list[int] = []
    position = len(weights) - 1
    while position >= 0:
        if taken[position]:
            chosen.append(position)
            position -= 2
        else:
            position -= 1
    return tuple(reversed(chosen)), best[-1]

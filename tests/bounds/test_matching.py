"""The matching on a path against all sets of pairs."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.bounds.matching import smallest_matching
from brittle.errors import UsageError

WEIGHT = st.one_of(st.none(), st.integers(-20, 3).map(lambda n: n / 4))


def brute_force(weights: list[float | None]) -> float:
    allowed = [i for i, w in enumerate(weights) if w is not None]
    best = 0.0
    for size in range(len(allowed) + 1):
        for chosen in combinations(allowed, size):
            if all(b - a > 1 for a, b in pairwise(chosen)):
                best = min(best, sum(weights[i] or 0.0 for i in chosen))
    return best


@given(st.lists(WEIGHT, max_size=11))
def test_smallest_of_all_matchings(weights: list[float | None]) -> None:
    chosen, total = smallest_matching(weights)
    assert total == brute_force(weights)  # quarters add without rounding
    assert total == sum(weights[i] or 0.0 for i in chosen)
    assert all(b - a > 1 for a, b in pairwise(chosen))
    assert all((weights[i] or 0.0) < 0 for i in chosen)


def test_two_outer_pairs_beat_the_best_single_one() -> None:
    assert smallest_matching([-2.0, -3.0, -2.0]) == ((0, 2), -4.0)
    assert smallest_matching([-2.0, -5.0, -2.0]) == ((1,), -5.0)


def test_cuts_and_useless_pairs_are_left_out() -> None:
    assert smallest_matching([None, None]) == ((), 0.0)
    assert smallest_matching([0.0, 1.0]) == ((), 0.0)
    assert smallest_matching([]) == ((), 0.0)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(UsageError, match="got NaN"):
        smallest_matching([float("nan")])

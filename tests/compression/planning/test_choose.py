"""The knapsack against every choice there is."""

from __future__ import annotations

from itertools import product
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.compression.planning.choose import Choice, Option, choose
from brittle.errors import UsageError

OPTIONS = st.builds(Option, cost=st.integers(0, 60), loss=st.integers(-20, 100).map(lambda n: n / 16))
LADDERS = st.lists(st.lists(OPTIONS, min_size=1, max_size=5), min_size=0, max_size=4)


def brute_force(ladders: list[list[Option]], budget: int) -> float:
    """The least loss within the budget; infinite where there is none."""
    best = inf
    for picked in product(*ladders):
        if sum(option.cost for option in picked) <= budget:
            best = min(best, sum(option.loss for option in picked))
    return best


@settings(max_examples=150, deadline=None)
@given(ladders=LADDERS, budget=st.integers(0, 200))
def test_with_a_cell_for_each_unit_of_cost_the_choice_is_the_best_there_is(
    ladders: list[list[Option]], budget: int
) -> None:
    wanted = brute_force(ladders, budget)
    if wanted == inf:
        with pytest.raises(UsageError, match=f"a budget of {budget} is below the"):
            choose(ladders, budget)
        return
    found = choose(ladders, budget)
    assert found.loss == wanted
    assert found.gap == 0
    assert consistent(found, ladders, budget)


@settings(max_examples=150, deadline=None)
@given(ladders=LADDERS, budget=st.integers(0, 200), cells=st.integers(1, 9))
def test_on_a_coarse_grid_the_budget_holds_and_the_gap_covers_the_best(
    ladders: list[list[Option]], budget: int, cells: int
) -> None:
    wanted = brute_force(ladders, budget)
    if wanted == inf:
        return
    found = choose(ladders, budget, cells)
    assert consistent(found, ladders, budget)
    assert found.bound <= wanted + 1e-12
    assert wanted <= found.loss


def consistent(found: Choice, ladders: list[list[Option]], budget: int) -> bool:
    picked = [ladder[i] for ladder, i in zip(ladders, found.picks, strict=True)]
    cost, loss = sum(option.cost for option in picked), sum(option.loss for option in picked)
    return found.cost == cost <= budget and found.loss == pytest.approx(loss)


def test_a_coarse_grid_does_leave_a_gap() -> None:
    ladders = [[Option(0, 1.0), Option(51, 0.0)], [Option(0, 1.0), Option(49, 0.0)]]
    assert choose(ladders, 100).loss == 0
    coarse = choose(ladders, 100, cells=2)
    assert (coarse.loss, coarse.bound) == (1.0, 0.0), "51 of 100 takes two cells of 50, so the two do not fit together"


@pytest.mark.parametrize(
    ("ladders", "cells", "message"),
    [
        ([[Option(1, 0.0)], []], 8, "ladder 1 has no options: leave the part out or give it one"),
        ([[Option(1, float("nan"))]], 8, "ladder 0 has an option .*expected a whole cost and a finite loss"),
        ([[Option(1.5, 0.0)]], 8, "ladder 0 has an option .*expected a whole cost and a finite loss"),  # type: ignore[arg-type]
        ([[Option(1, 0.0)]], 0, "needs at least 1 cell, got 0"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(ladders: list[list[Option]], cells: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose(ladders, 10, cells)

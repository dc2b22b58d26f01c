"""The rule for the learning rate, with trials whose outcome is made up."""

from __future__ import annotations

import pytest

from brittle.training.engine_run import LostRunError
from brittle.training.optimisers import OPTIMISERS
from brittle.training.recovery.budget import Spending
from brittle.training.recovery.rates import RATES, choose_rate

LOW, MIDDLE, HIGH = RATES["adamw"]


def choose(outcomes: dict[float, tuple[float, float] | None], budget: float = 12.0) -> tuple[float, list[float], float]:
    """The chosen rate, the rates tried, and the gradient evaluations of one trial."""
    lengths: list[Spending] = []

    def judged(rate: float, length: Spending) -> tuple[float, float]:
        lengths.append(length)
        rank = outcomes[rate]
        if rank is None:
            raise LostRunError(f"lost at {rate}")
        return rank

    rate, trials = choose_rate("adamw", budget, 6.0, 54_000, 128, judged)
    assert [trial.rank for trial in trials] == [outcomes[trial.learning_rate] for trial in trials]
    assert all(trial.gradients == length.gradients for trial, length in zip(trials, lengths, strict=True))
    return rate, [trial.learning_rate for trial in trials], lengths[0].gradients if lengths else 0.0


def test_the_best_judged_wins_and_each_trial_is_a_twentieth() -> None:
    rate, tried, spent = choose({LOW: (0.5, 0.9), MIDDLE: (0.6, 0.1), HIGH: (0.4, 1.0)})
    assert (rate, tried) == (MIDDLE, [LOW, MIDDLE, HIGH])
    assert 0.59 < spent <= 0.6


def test_ties_go_to_the_lower_rate_and_the_second_number_decides() -> None:
    assert choose({LOW: (0.5, 0.9), MIDDLE: (0.5, 0.9), HIGH: (0.5, 0.8)})[0] == LOW
    assert choose({LOW: (0.5, 0.7), MIDDLE: (0.5, 0.8), HIGH: (0.5, 0.9)})[0] == HIGH


def test_a_lost_trial_loses() -> None:
    assert choose({LOW: (0.1, 0.1), MIDDLE: None, HIGH: None})[0] == LOW
    assert choose({LOW: None, MIDDLE: (0.1, 0.1), HIGH: None})[0] == MIDDLE
    with pytest.raises(LostRunError, match=f"lost at {HIGH}"):
        choose({LOW: None, MIDDLE: None, HIGH: None})


def test_a_small_budget_tries_nothing() -> None:
    """A twentieth must be 20 steps of 128: 2,560 samples at 6 are 0.2844 for each of 54,000 images."""
    none: dict[float, tuple[float, float] | None] = {LOW: (0.0, 0.0), MIDDLE: (0.0, 0.0), HIGH: (0.0, 0.0)}
    assert choose(none, 5.68)[:2] == (MIDDLE, [])
    assert choose(none, 5.7)[1] == [LOW, MIDDLE, HIGH]


def test_every_optimiser_has_rising_rates() -> None:
    assert RATES.keys() == OPTIMISERS.keys()
    assert all(low < middle < high for low, middle, high in RATES.values())

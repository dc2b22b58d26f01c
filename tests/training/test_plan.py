"""Plans out of range are refused where they are made, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from brittle.errors import UsageError
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs and batch size must be at least 1, got 0 and 64"),
        ({"batch_size": 0}, "epochs and batch size must be at least 1, got 1 and 0"),
        ({"learning_rate": -1.0}, "learning rate must be > 0 and weight decay >= 0, got -1.0"),
        ({"weight_decay": float("inf")}, "weight decay >= 0, got 0.001 and inf"),
        ({"optimiser": "lion"}, "unknown optimiser 'lion'"),
        ({"schedule": "linear"}, "unknown schedule 'linear'"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"label_noise": -0.1}, r"label noise is a share of the labels in \[0, 1\), got -0.1"),
        ({"patience": 0}, "patience must be at least 1 epoch, got 0"),
        ({"clip": 0.0}, "the largest gradient norm must be a positive number, got 0.0"),
        ({"clip": float("nan")}, "the largest gradient norm must be a positive number, got nan"),
    ],
)
def test_dynamics_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Dynamics(**{"epochs": 1, **values})


@pytest.mark.parametrize(("alpha", "scale"), [(0.0, 1.0), (2.5, 1.0), (1.5, -1.0), (1.5, float("nan"))])
def test_heavy_tails_out_of_range(alpha: float, scale: float) -> None:
    with pytest.raises(UsageError, match=r"gradient noise needs alpha in \(0, 2\] and a scale >= 0, got"):
        HeavyTails(alpha, scale)


def test_penalties_out_of_range() -> None:
    with pytest.raises(UsageError, match=r"penalty l1: the strength must be >= 0, got -1.0"):
        Plan(Dynamics(1), penalties=(Weighted("l1", -1.0),))
    with pytest.raises(UsageError, match="penalty l1 is given twice: give it once"):
        Plan(Dynamics(1), penalties=(Weighted("l1", 1.0), Weighted("l1", 2.0)))

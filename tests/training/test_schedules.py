"""Learning rates of a run: torch's schedulers where it has them, closed forms where not."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from brittle.errors import UsageError
from brittle.training.schedules import SCHEDULES, schedule_named


def torchs(make: type[LRScheduler], steps: int, **settings: object) -> list[float]:
    optimiser = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.3)
    schedule = make(optimiser, **settings)  # type: ignore[arg-type]
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if len(rates) < steps:
            schedule.step()
    return rates


@pytest.mark.parametrize("steps", [1, 2, 7, 240])
def test_cosine_is_torchs_to_the_bit(steps: int) -> None:
    assert SCHEDULES["cosine"](0.3, steps) == torchs(CosineAnnealingLR, steps, T_max=steps)


@pytest.mark.parametrize("steps", [2, 5, 10, 240])
def test_one_cycle_is_torchs(steps: int) -> None:
    expected = torchs(OneCycleLR, steps, max_lr=0.3, total_steps=steps, cycle_momentum=False)
    assert SCHEDULES["one-cycle"](0.3, steps) == pytest.approx(expected, rel=1e-12)


def test_the_others_by_hand() -> None:
    assert SCHEDULES["constant"](0.3, 3) == [0.3] * 3
    assert SCHEDULES["step"](1.0, 8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    warm = SCHEDULES["warm-cosine"](1.0, 100)
    assert warm[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a > b for a, b in pairwise(warm[4:]))
    assert warm[52] == pytest.approx(0.5)  # half of the cosine's 96 intervals
    assert 0 < warm[-1] < 1e-3


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_rate_is_positive_and_at_most_the_peak(name: str) -> None:
    for steps in (1, 2, 3, 4, 5, 33):
        rates = SCHEDULES[name](0.3, steps)
        assert len(rates) == steps
        assert all(0 < rate <= 0.3 * (1 + 1e-12) for rate in rates), steps


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown schedule 'linear': expected one of constant, cosine"):
        schedule_named("linear")
    assert schedule_named("step") is SCHEDULES["step"]

"""The rational approximations against their definition: small error, alternating extremes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from brittle.training.penalties.zolotarev import Step, best, one_step, two_steps


def values(steps: tuple[Step, ...], x: Tensor) -> Tensor:
    for step in steps:
        inside = sum(a / (x**2 + c) for a, c in zip(step.residues, step.shifts, strict=True))
        x = step.factor * x * (1 + inside)
    return x


def test_it_is_the_best_approximation_it_claims_to_be() -> None:
    """It equioscillates: on [l, 1] the extremes are hit 2m + 2 times, here for m = 2 six times."""
    poles, residues = best(1e-2, 2)
    x = torch.logspace(-2, 0, 200_001, dtype=torch.float64)
    y = x * (1 + sum(a / (x**2 + c) for a, c in zip(residues, poles, strict=True)))
    middle, reach = (y.max() + y.min()) / 2, (y.max() - y.min()) / 2
    signs = torch.sign(y - middle)[(y - middle).abs() > reach * (1 - 1e-6)]
    assert 1 + int((signs[1:] != signs[:-1]).sum()) == 6


@pytest.mark.parametrize(("low", "terms"), [(1e-2, 2), (0.1, 1), (1e-3, 3)])
def test_one_step_is_centred_on_one(low: float, terms: int) -> None:
    x = torch.logspace(torch.tensor(low).log10(), 0, 100_001, dtype=torch.float64)
    error = values(one_step(low, terms), x) - 1
    assert float(error.max()) == pytest.approx(-float(error.min()), rel=1e-4)
    predicted = 4 * torch.exp(-(2 * terms + 1) * torch.pi**2 / (2 * torch.log(torch.tensor(4 / low))))
    assert float(error.max()) == pytest.approx(float(predicted), rel=0.2)


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_two_steps_are_as_good_as_one_of_their_degree(first: int, second: int) -> None:
    x = torch.logspace(-3, 0, 100_001, dtype=torch.float64)
    error = values(two_steps(1e-3, first, second), x) - 1
    assert float(error.abs().max()) == pytest.approx(5.3e-4, rel=0.02)  # 4 exp(-15 pi^2 / (2 ln 4000))
    assert float(error.max()) == pytest.approx(-float(error.min()), rel=1e-3)


def test_below_its_interval_it_rises_without_a_wiggle() -> None:
    x = torch.linspace(0, 1e-3, 10_001, dtype=torch.float64)
    y = values(two_steps(1e-3, 2, 1), x)
    assert float(y[0]) == 0
    assert bool((y.diff() > 0).all())

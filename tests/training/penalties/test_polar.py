"""The polar factor against a singular value decomposition in float64."""

from __future__ import annotations

import pytest
import torch

import brittle.training.penalties.polar as module
from brittle.training.penalties.polar import polar_factor, rough_polar_factor
from tests.training.penalties.made import normal, polar, with_values

LARGE = 300  # a short side beyond which two Zolotarev steps take over


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5), (1, 4), (2, 7, 3)])
def test_small_matrices_are_exact(shape: tuple[int, ...]) -> None:
    w = normal(*shape)
    torch.testing.assert_close(polar_factor(w), polar(w), atol=1e-12, rtol=0)


@pytest.mark.parametrize("factor", [polar_factor, rough_polar_factor])
def test_zero_values_stay_zero(factor: object) -> None:
    w = with_values(torch.tensor([3.0, 1.0]), 6, 8)
    sigma = torch.linalg.svdvals(factor(w))  # type: ignore[operator]
    torch.testing.assert_close(sigma, torch.tensor([1, 1, 0, 0, 0, 0]).double(), atol=1e-7, rtol=0)
    assert not bool(factor(torch.zeros(LARGE, LARGE + 1)).any())  # type: ignore[operator]


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
@pytest.mark.parametrize("tall", [False, True])
def test_large_matrices_to_a_thousandth(scale: float, tall: bool) -> None:
    w = (scale * with_values(torch.logspace(0, -2.9, LARGE), LARGE, 500)).float()
    w = w.T if tall else w
    got = polar_factor(w)
    assert (got.shape, got.dtype) == (w.shape, torch.float32)
    error = float((got.double() - polar(w)).norm() / LARGE**0.5)
    assert error < 1e-3
    assert float(torch.linalg.svdvals(got).sub(1).abs().max()) < 1.2e-3


def test_small_values_are_raised_but_never_beyond_one() -> None:
    """float32 cannot tell the direction of values below 1e-6: no wild numbers may come of it."""
    sigma = torch.cat([torch.ones(150), torch.logspace(-4, -9, 150)])
    w = with_values(sigma, LARGE, 400).float()
    values = torch.linalg.svdvals(polar_factor(w))
    assert float(values.max()) < 1.001
    assert float(values[:150].min()) > 0.999


def test_the_rough_one_to_seven_per_cent_in_one_step() -> None:
    w = with_values(torch.logspace(0, -1.95, LARGE), LARGE, 400).float()
    values = torch.linalg.svdvals(rough_polar_factor(w))
    assert float(values.sub(1).abs().max()) < 0.07
    assert float(values.sub(1).abs().max()) > 0.01  # else it did the work of two steps


def test_large_members_of_an_ensemble() -> None:
    w = torch.stack([normal(260, 300, seed=i).float() * (1 + 9 * i) for i in range(2)])
    torch.testing.assert_close(polar_factor(w), torch.stack([polar_factor(m) for m in w]), atol=1e-5, rtol=0)


def test_where_cholesky_fails_eigenvectors_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_shifted_inverse", lambda g, shift: None)
    w = normal(260, 280).float()
    torch.testing.assert_close(polar_factor(w).double(), polar(w), atol=1e-5, rtol=0)


def test_short_numbers_and_no_numbers() -> None:
    w = normal(260, 300).bfloat16()
    assert polar_factor(w).dtype == torch.bfloat16
    assert float((polar_factor(w).double() - polar(w)).norm() / 260**0.5) < 1e-2
    assert bool(polar_factor(torch.full((3, 4), torch.inf)).isnan().all())


def test_the_zolotarev_function_is_the_best_approximation_it_claims_to_be() -> None:
    """It equioscillates: on [l, 1] the extremes are hit 2m + 2 times, here for m = 2 six times."""
    poles, residues = module._zolotarev(1e-2, 2)
    x = torch.logspace(-2, 0, 200_001, dtype=torch.float64)
    y = x * (1 + sum(a / (x**2 + c) for a, c in zip(residues, poles, strict=True)))
    middle, reach = (y.max() + y.min()) / 2, (y.max() - y.min()) / 2
    signs = torch.sign(y - middle)[(y - middle).abs() > reach * (1 - 1e-6)]
    assert 1 + int((signs[1:] != signs[:-1]).sum()) == 6

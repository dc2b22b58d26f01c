"""The polar factor against a singular value decomposition in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
    w = (scale * with_values(torch.logspace(0, -2, LARGE), LARGE, 500)).float()
    w = w.T if tall else w
    got = polar_factor(w)
    assert (got.shape, got.dtype) == (w.shape, torch.float32)
    error = float((got.double() - polar(w)).norm() / LARGE**0.5)
    assert error < 5e-4
    assert float(torch.linalg.svdvals(got).sub(1).abs().max()) < 1e-3


def test_values_down_to_a_thousandth_of_the_largest() -> None:
    """Rounding of the Gram matrix counts there."""
    w = with_values(torch.logspace(0, -2.95, LARGE), LARGE, 500).float()
    got = polar_factor(w)
    assert float((got.double() - polar(w)).norm() / LARGE**0.5) < 5e-3
    assert float(torch.linalg.svdvals(got).sub(1).abs().max()) < 1.5e-2


def test_float64_is_only_off_by_design() -> None:
    w = with_values(torch.logspace(0, -2.95, LARGE), LARGE, 400)
    assert float(torch.linalg.svdvals(polar_factor(w)).sub(1).abs().max()) < 7e-4


def test_one_value_far_above_the_rest() -> None:
    """The rest, near the end of what is resolved, is raised as far as it can be told, and the one to 1."""
    sigma = torch.cat([torch.tensor([1.0]), torch.full((LARGE - 1,), 5e-4)])
    w = with_values(sigma, LARGE, 400)
    inside = polar_factor(w.float()).double() @ polar(w).T
    values = torch.linalg.svdvals(inside)
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.15


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(257, 300),
    columns=st.integers(257, 330),
    decades=st.floats(0, 9),
    rank=st.integers(1, 300),
    double=st.booleans(),
    size=st.sampled_from([1e-20, 1e-3, 1.0, 1e5]),
    seed=st.integers(0, 1000),
)
def test_any_spectrum(rows: int, columns: int, decades: float, rank: int, double: bool, size: float, seed: int) -> None:
    """Whatever falls below what is resolved: above 1e-2 sigma_1 the factor is right, and it is never longer than 1."""
    sigma = torch.logspace(0, -decades, min(rank, rows, columns), dtype=torch.float64)
    w = size * with_values(sigma, rows, columns, seed=seed)
    w = w if double else w.float()
    got = polar_factor(w).double()
    u, found, vt = torch.linalg.svd(w.double(), full_matrices=False)
    kept = found >= 1e-2 * found[0]
    apart = (u.T @ got @ vt.T - torch.eye(len(found)).double())[kept]
    assert float(apart.norm(dim=1).max()) < 1e-2
    assert float((got @ vt[kept].T - u[:, kept]).norm() / kept.sum().sqrt()) < 1e-2
    assert float(torch.linalg.matrix_norm(got, 2)) < 1.1


def test_small_values_are_raised_but_never_beyond_one() -> None:
    """float32 cannot tell the direction of values below 1e-6: no wild numbers may come of it."""
    sigma = torch.cat([torch.ones(150), torch.logspace(-4, -9, 150)])
    w = with_values(sigma, LARGE, 400).float()
    values = torch.linalg.svdvals(polar_factor(w))
    assert float(values.max()) < 1.05
    assert float(values[:150].min()) > 0.999


def test_the_rough_one_in_one_step() -> None:
    w = with_values(torch.logspace(0, -2.25, LARGE), LARGE, 400).float()
    values = torch.linalg.svdvals(rough_polar_factor(w))
    assert float(values.sub(1).abs().max()) < 0.04
    assert float(values.sub(1).abs().max()) > 0.01  # else it did the work of two steps


def test_large_members_of_an_ensemble() -> None:
    w = torch.stack([normal(260, 300, seed=i).float() * (1 + 9 * i) for i in range(2)])
    torch.testing.assert_close(polar_factor(w), torch.stack([polar_factor(m) for m in w]), atol=1e-5, rtol=0)


def test_where_cholesky_fails_eigenvectors_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "left_factor", lambda g, steps: None)
    w = normal(260, 280).float()
    torch.testing.assert_close(polar_factor(w).double(), polar(w), atol=1e-5, rtol=0)


def test_short_numbers_and_no_numbers() -> None:
    w = normal(260, 300).bfloat16()
    assert polar_factor(w).dtype == torch.bfloat16
    assert float((polar_factor(w).double() - polar(w)).norm() / 260**0.5) < 1e-2
    assert bool(polar_factor(torch.full((3, 4), torch.inf)).isnan().all())

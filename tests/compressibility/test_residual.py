"""Residuals and spreads against brute force, and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.compressibility.residual import beta, beta_mean, count, residual, residuals, smallest_k
from brittle.errors import UsageError
from tests.cases import normal

VECTORS = st.lists(st.floats(-1e3, 1e3).map(lambda v: 0.0 if abs(v) < 1e-3 else v), min_size=1, max_size=30)


def _brute(t: list[float], k: int, q: float) -> float:
    ordered = sorted((abs(v) for v in t), reverse=True)
    whole = np.linalg.norm(ordered, q)
    return 0.0 if whole == 0 or k >= len(t) else float(np.linalg.norm(ordered[k:], q) / whole)


@settings(deadline=None)
@given(VECTORS, st.integers(0, 35), st.sampled_from([1.0, 2.0, 3.0]))
def test_residual_is_the_tail_over_the_whole(t: list[float], k: int, q: float) -> None:
    assert residual(torch.tensor(t, dtype=torch.float64), k, q) == pytest.approx(_brute(t, k, q), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(VECTORS, st.sampled_from([1e-250, -3.0, 1e250]))
def test_everything_is_scale_invariant(t: list[float], c: float) -> None:
    v = torch.tensor(t, dtype=torch.float64)
    torch.testing.assert_close(residuals(v, 2.0), residuals(c * v, 2.0), rtol=1e-9, atol=1e-12)
    for k in range(1, len(t) + 1):
        assert beta(v, k) == pytest.approx(beta(c * v, k), abs=1e-12)
        assert beta_mean(v, k) == pytest.approx(beta_mean(c * v, k), abs=1e-12)


@settings(deadline=None)
@given(VECTORS)
def test_residuals_fall_from_one_to_zero(t: list[float]) -> None:
    r = residuals(torch.tensor(t, dtype=torch.float64))
    assert len(r) == len(t) + 1
    assert r[-1] == 0
    assert r[0] == (1.0 if any(t) else 0.0)
    assert bool((r.diff() <= 0).all())


@settings(deadline=None)
@given(VECTORS, st.floats(0, 1))
def test_smallest_k_is_the_first_within_the_tolerance(t: list[float], tolerance: float) -> None:
    v = torch.tensor(t, dtype=torch.float64)
    k = smallest_k(v, tolerance)
    assert residual(v, k) <= tolerance
    assert k == 0 or residual(v, k - 1) > tolerance


@settings(deadline=None)
@given(VECTORS)
def test_beta_mean_makes_the_first_factor_of_theorem_31_exact(t: list[float]) -> None:
    v = torch.tensor(t, dtype=torch.float64).abs()
    for k in range(1, len(t) + 1):
        assert 0 <= beta_mean(v, k) <= beta(v, k) + 1e-15
        if v.max() > 0:
            factor = (1 - residual(v, k)) / (k * (1 - beta_mean(v, k)))
            assert factor * float(v.sum()) == pytest.approx(float(v.max()), rel=1e-9)


def test_a_zero_vector_is_compressible_and_flat() -> None:
    zero = torch.zeros(4)
    assert residual(zero, 1) == 0.0
    assert smallest_k(zero, 0.05) == 0
    assert beta(zero, 2) == 0.0
    assert beta_mean(zero, 2) == 0.0


def test_ties_and_order_change_nothing() -> None:
    t = torch.tensor([1.0, -2.0, 2.0, 2.0])
    assert residual(t, 1) == pytest.approx(5 / 7)
    assert residual(t, 2) == pytest.approx(3 / 7)
    assert torch.equal(residuals(t), residuals(t[torch.tensor([3, 0, 2, 1])]))


def test_beta_of_known_vectors() -> None:
    t = torch.tensor([4.0, 1.0, 2.0])
    assert beta(t, 1) == 0.0
    assert beta(t, 2) == 0.5
    assert beta_mean(t, 2) == 0.25
    assert beta(torch.tensor([1.0, 0.0]), 2) == 1.0


def test_the_tail_of_a_steep_vector_keeps_its_digits() -> None:
    t = torch.tensor([1.0, 1e-20, 2e-20], dtype=torch.float64)
    assert residual(t, 1) == pytest.approx(3e-20, rel=1e-12)


@pytest.mark.parametrize(
    ("fraction", "length", "k"), [(0.1, 30, 3), (0.07, 100, 7), (0.1, 71, 8), (0.1, 1, 1), (1.0, 5, 5), (1e-12, 9, 1)]
)
def test_count_is_the_ceiling_without_float_noise(fraction: float, length: int, k: int) -> None:
    assert count(fraction, length) == k


def test_refusals() -> None:
    t = normal(3, seed=0)
    for fraction, length in [(0.0, 3), (1.1, 3), (float("nan"), 3), (0.5, 0)]:
        with pytest.raises(UsageError, match=r"k needs a fraction in \(0, 1\] of a length >= 1"):
            count(fraction, length)
    for bad in (torch.zeros(0), torch.tensor([float("nan")]), torch.tensor([float("inf")])):
        with pytest.raises(UsageError, match="needs a vector of finite numbers"):
            residuals(bad)
    with pytest.raises(UsageError, match="positive exponent q, got 0"):
        residuals(t, 0)
    with pytest.raises(UsageError, match="k >= 0 terms kept, got -1"):
        residual(t, -1)
    with pytest.raises(UsageError, match=r"fraction in \[0, 1\], got 1.5"):
        smallest_k(t, 1.5)
    for k in (0, 4):
        with pytest.raises(UsageError, match=f"between 1 and the vector's length 3, got {k}"):
            beta(t, k)
        with pytest.raises(UsageError, match="between 1 and the vector's length 3"):
            beta_mean(t, k)

"""Theorem 3.1: both sides hold, the chosen k and k_r are the best, and the paper's form is never smaller."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brittle.compressibility import decomposition
from brittle.compressibility.decomposition import _spectral_shares, dominant_share, row_residuals, theorem31
from brittle.compressibility.rank import singular_values
from brittle.compressibility.residual import beta, beta_mean, residual
from brittle.errors import ModelError, UsageError
from tests.cases import normal


@st.composite
def matrices(draw: st.DrawFn) -> Tensor:
    """Random, low-rank, row-sparse, with zero rows, of extreme scale."""
    h, d = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    w = normal(h, d, seed=draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(["random", "low-rank", "row-sparse", "zero rows", "orthogonal", "equal"]))
    if kind == "low-rank":
        w = w[:, :1] @ w[:1]
    if kind == "row-sparse":
        w = torch.where(w.abs() >= w.abs().amax(1, keepdim=True), w, 0.0)
    if kind == "zero rows":
        w[draw(st.integers(0, h - 1)) :] = 0.0
    if kind == "orthogonal":
        w = torch.linalg.qr(w).Q
    if kind == "equal":
        w = torch.ones(h, d, dtype=torch.float64)
    return w * draw(st.sampled_from([1e-290, 1e-3, 1.0, 1e280]))


def _norms(w: Tensor) -> dict[str, float]:
    scale = float(w.abs().max()) or 1.0
    unit = (w / scale).numpy()
    return {"linf": float(np.abs(unit).sum(1).max()) * scale, "l2": float(np.linalg.norm(unit, 2)) * scale}


@settings(max_examples=300, deadline=None)
@given(matrices())
def test_both_sides_hold(w: Tensor) -> None:
    truth = _norms(w)
    for p, sides in theorem31(w).items():
        assert sides.lower <= truth[p] * (1 + 1e-13)
        assert truth[p] * (1 - 1e-13) <= sides.upper


def _paper(w: Tensor, k: int, k_r: int) -> dict[str, float]:
    """The theorem as printed, term by term."""
    h, d = w.shape
    nu, sigma = w.abs().sum(1), torch.linalg.svdvals(w)
    eps_r = max(residual(row, k_r, 2.0) for row in w)
    f = float(w.norm())

    def first(t: Tensor) -> float:
        b = beta(t, k)
        return float("inf") if b == 1 else (1 - residual(t, k)) / (k * (1 - b))

    bracket = (h * k_r) ** 0.5 + (h * (d - k_r)) ** 0.5 * eps_r
    return {"linf": first(nu) * bracket * f, "l2": first(sigma) * min(h, d) ** 0.5 * f}


@pytest.mark.parametrize("seed", range(8))
def test_no_other_k_or_k_r_gives_a_smaller_bound(seed: int) -> None:
    w = normal(6, 9, seed=seed) ** 3
    w[seed % 6] *= 4
    got = theorem31(w)
    grid = {(k, k_r): _paper(w, k, k_r) for k in range(1, 7) for k_r in range(1, 10)}
    for p, best in got.items():
        smallest = min(values[p] for values in grid.values())
        assert best.upper == pytest.approx(smallest, rel=1e-10)
        assert grid[best.k, best.k_r or 1][p] == pytest.approx(smallest, rel=1e-10)
    assert got["l2"].k_r is None


@pytest.mark.parametrize("seed", range(5))
def test_the_lower_side_is_the_largest_over_k(seed: int) -> None:
    w = normal(7, 5, seed=seed)
    for p, t in [("linf", w.abs().sum(1)), ("l2", torch.linalg.svdvals(w))]:
        each = [((1 - residual(t, k)) / k) ** 0.5 * float(w.norm()) for k in range(1, len(t) + 1)]
        assert theorem31(w)[p].lower == pytest.approx(max(each), rel=1e-10)


def test_the_first_factor_does_not_depend_on_k_with_beta_mean() -> None:
    t = normal(9, seed=0).abs()
    for k in range(1, 10):
        assert (1 - residual(t, k)) / (k * (1 - beta_mean(t, k))) == pytest.approx(dominant_share(t), rel=1e-12)


def test_row_residuals_are_the_worst_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    w = normal(11, 7, seed=1) ** 3
    w[3] = 0.0
    truth = [max(residual(row, k, 2.0) for row in w) for k in range(1, 8)]
    assert row_residuals(w).tolist() == pytest.approx(truth, rel=1e-12, abs=1e-12)
    monkeypatch.setattr(decomposition, "_CHUNK_ENTRIES", 14)
    assert row_residuals(w).tolist() == pytest.approx(truth, rel=1e-12, abs=1e-12)


def test_row_residuals_of_a_tiny_row_among_large_ones() -> None:
    w = torch.diag(torch.tensor([1.0, 1e-200], dtype=torch.float64))
    w[1, 0] = 1e-200  # its squares are 0 in float64, its residual at 1 is sqrt(1/2)
    assert row_residuals(w).tolist() == pytest.approx([0.5**0.5, 0.0])


def test_sparse_rows_choose_a_small_k_r() -> None:
    w = torch.eye(8, dtype=torch.float64)
    sides = theorem31(w)["linf"]
    assert sides.k_r == 1
    assert sides.upper == pytest.approx(1.0, rel=1e-9)  # tight: sqrt(h) / h * sqrt(h)


def test_known_singular_values_are_used() -> None:
    w = normal(6, 4, seed=0)
    assert theorem31(w, torch.linalg.svdvals(w))["l2"].upper == pytest.approx(theorem31(w)["l2"].upper, rel=1e-12)


def test_large_matrices_go_through_the_gram_matrix() -> None:
    for w in (
        normal(300, 500, seed=0),
        torch.linalg.qr(normal(300, 300, seed=1)).Q,
        normal(300, 2, seed=2) @ normal(2, 400, seed=3),
    ):
        truth = _norms(w)["l2"]
        sides = theorem31(w)["l2"]
        assert sides.lower <= truth * (1 + 1e-13)
        assert truth * (1 - 1e-13) <= sides.upper


def test_a_zero_matrix_has_zero_sides() -> None:
    for sides in theorem31(torch.zeros(3, 4)).values():
        assert (sides.upper, sides.lower) == (0.0, 0.0)


def test_refusals() -> None:
    for bad in (torch.ones(3), torch.ones(0, 3)):
        with pytest.raises(UsageError, match=r"Theorem 3.1 needs a matrix \(neurons, fan-in\) with entries"):
            theorem31(bad)
    with pytest.raises(ModelError, match="expected finite weights"):
        theorem31(torch.full((2, 2), float("inf")))


def test_what_the_gram_matrix_adds_to_small_values_is_allowed_for() -> None:
    """Rank one, 300 x 320: sigma_1 is the whole sum, but computed small values make the sum too large by some 1e-6."""
    w = torch.outer(normal(300, seed=0), normal(320, seed=1))
    sigma = singular_values(w)
    assert float(sigma.sum() / sigma[0]) > 1 + 1e-9  # what must be allowed for is there
    low, high = _spectral_shares(sigma, 300, 320)
    assert low <= 1.0 <= high
    assert low > 0.99


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_residuals_of_rows_by_brute_force(rows: int) -> None:
    """More rows than one chunk holds, a zero row and rows of very different size."""
    w = normal(rows, 90, seed=2)
    w[0] = 0 if rows > 1 else w[0]
    w *= torch.logspace(0, -200, rows, dtype=torch.float64)[:, None]
    truth = np.zeros(90)
    for row in w.numpy():
        if (size := np.abs(row).max()) > 0:
            squares = np.sort((row / size) ** 2)[::-1]
            tails = np.array([squares[k:].sum() for k in range(1, 91)]) / squares.sum()
            truth = np.maximum(truth, np.sqrt(tails))
    np.testing.assert_allclose(row_residuals(w).numpy(), truth, rtol=1e-12, atol=1e-15)

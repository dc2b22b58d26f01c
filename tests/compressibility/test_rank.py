"""Singular values and ranks against numpy and closed forms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from brittle.compressibility import rank
from brittle.compressibility.decomposition import theorem31
from brittle.compressibility.rank import FLOOR, effective_rank, singular_values, spectrum, stable_rank
from brittle.errors import ModelError
from tests.cases import normal


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 7), (300, 400), (400, 300)])
@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e200])
def test_values_are_numpys_from_the_largest_down(shape: tuple[int, int], scale: float) -> None:
    w = normal(*shape, seed=0)
    truth = np.linalg.svd(w.numpy(), compute_uv=False)
    np.testing.assert_allclose((singular_values(w * scale) / scale).numpy(), truth, rtol=1e-7)


def test_small_values_survive_where_they_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "_SMALL", 0)
    q, r = (torch.linalg.qr(normal(20, 20, seed=s)).Q for s in (1, 2))
    truth = torch.logspace(0, -12, 20, dtype=torch.float64)
    w = q @ torch.diag(truth) @ r
    torch.testing.assert_close(singular_values(w, small_matter=True), truth, rtol=1e-3, atol=0)
    through_gram = singular_values(w)
    torch.testing.assert_close(through_gram, truth, rtol=0, atol=1e-7)
    assert bool((through_gram >= 0).all())


def test_nan_is_refused() -> None:
    with pytest.raises(ModelError, match="expected finite weights"):
        singular_values(torch.full((2, 2), float("nan")))


@pytest.mark.parametrize("n", [1, 4, 10])
def test_ranks_of_flat_spectra_are_their_length(n: int) -> None:
    sigma = torch.full((n,), 3.0, dtype=torch.float64)
    assert effective_rank(sigma) == pytest.approx(n)
    assert stable_rank(sigma) == pytest.approx(n)


def test_ranks_of_one_direction_and_of_nothing() -> None:
    one = torch.tensor([2.0, 0.0, 0.0])
    assert effective_rank(one) == pytest.approx(1.0)
    assert stable_rank(one) == 1.0
    assert effective_rank(torch.zeros(3)) == 0.0
    assert stable_rank(torch.zeros(3)) == 0.0


def test_ranks_of_a_known_spectrum() -> None:
    sigma = torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert effective_rank(sigma) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert stable_rank(sigma) == pytest.approx(10 / 9)


def _made(values: torch.Tensor, d: int, seed: int) -> torch.Tensor:
    """A matrix (len(values), d) with these singular values."""
    n = len(values)
    left, right = torch.linalg.qr(normal(n, n, seed=seed)).Q, torch.linalg.qr(normal(d, n, seed=seed + 1)).Q
    return left @ torch.diag(values) @ right.T


@pytest.mark.parametrize("n", [20, 300])
def test_resolved_values_have_four_digits_and_the_others_are_flagged(n: int) -> None:
    """Both sides of the short-side limit; truth is the spectrum that the matrix was made with."""
    truth = torch.logspace(0, -8, n, dtype=torch.float64)
    found = spectrum(_made(truth, n + 50, seed=3))
    resolved = truth >= FLOOR
    assert float(((found.sigma - truth).abs() / truth)[resolved].max()) < 1e-4
    assert found.below_floor == (0 if n <= 256 else int((~resolved).sum()))
    assert float(found.sigma[~resolved].max()) < 1.1 * FLOOR
    if n <= 256:
        torch.testing.assert_close(found.sigma, truth, rtol=1e-6, atol=0)
    assert spectrum(_made(truth, n + 50, seed=3), small_matter=True).below_floor == 0


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e200])
@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (300, 280)])
def test_the_norm_lies_between_its_sides_and_frobenius_is_numpys(shape: tuple[int, int], scale: float) -> None:
    w = normal(*shape, seed=6)
    found = spectrum(w * scale)
    truth = np.linalg.svd(w.numpy(), compute_uv=False)[0] * scale
    assert found.lower <= truth * (1 + 1e-13)
    assert found.upper >= truth * (1 - 1e-13)
    assert found.upper <= found.lower * (1 + 1e-9)
    assert found.frobenius == pytest.approx(np.linalg.norm(w.numpy()) * scale, rel=1e-12)


def test_a_norm_known_exactly_is_enclosed() -> None:
    """A Hadamard matrix of side 512 has 512 singular values sqrt(512): squares compare without rounding."""
    h = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(9):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    found = spectrum(h)
    assert Fraction(found.lower) ** 2 <= 512 <= Fraction(found.upper) ** 2
    assert theorem31(h)["l2"].upper ** 2 >= 512 >= theorem31(h)["l2"].lower ** 2
    assert found.below_floor == 0


def test_a_zero_matrix_has_a_spectrum_of_zeros() -> None:
    found = spectrum(torch.zeros(3, 5))
    assert (found.lower, found.upper, found.frobenius, found.below_floor) == (0.0, 0.0, 0.0, 0)
    assert torch.equal(found.sigma, torch.zeros(3, dtype=torch.float64))

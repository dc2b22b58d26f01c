"""Singular values and ranks against numpy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brittle.compressibility import rank
from brittle.compressibility.rank import effective_rank, singular_values, stable_rank
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

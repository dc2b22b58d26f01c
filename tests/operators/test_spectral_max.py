"""The largest singular value over many matrices: never below the truth, hardly above it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from brittle.operators.spectral_max import spectral_max
from tests.cases import normal


def _complex(*shape: int, seed: int) -> Tensor:
    return torch.complex(normal(*shape, seed=seed), normal(*shape, seed=seed + 1))


@pytest.mark.parametrize("shape", [(9, 4, 7), (9, 7, 4), (40, 1, 5), (3, 30, 30), (1, 1, 1)])
def test_covers_every_matrix_of_every_chunk(shape: tuple[int, int, int]) -> None:
    for seed in range(10):
        chunks = [_complex(*shape, seed=10 * seed + i) for i in range(3)]
        truth = max(float(torch.linalg.matrix_norm(c, 2).max()) for c in chunks)
        assert truth <= spectral_max(chunks) <= truth * (1 + 1e-5)


def test_finds_a_large_matrix_that_the_first_estimate_ranks_low() -> None:
    # Diagonal with the largest entry reached only through a column the power steps start next to: near ties decide.
    batch = torch.stack([torch.diag(torch.tensor([1.0, 1.0 + 1e-3 * i])) for i in range(50)]).to(torch.complex128)
    truth = 1.0 + 1e-3 * 49
    assert truth <= spectral_max(batch.split(7)) <= truth * (1 + 1e-5)


def test_equal_singular_values_everywhere() -> None:
    unitary = torch.linalg.qr(_complex(6, 8, 8, seed=3)).Q
    assert 1 - 1e-14 <= spectral_max([unitary]) <= 1 + 1e-5


def test_zero_blocks_have_norm_zero_and_do_not_hide_others() -> None:
    zero = torch.zeros(4, 3, 3, dtype=torch.complex128)
    assert spectral_max([zero]) == 0.0
    mixed = zero.clone()
    mixed[2, 0, 1] = 2j
    assert 2.0 <= spectral_max([zero, mixed, zero]) <= 2.0 * (1 + 1e-5)

"""Heads of a matrix against numpy's decomposition of each part."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from brittle.compressibility.heads import head_structures
from brittle.compressibility.layer import layer_structure
from brittle.operators.heads import Heads
from brittle.operators.linear import DenseView
from brittle.results.layer import HeadStructure
from tests.cases import normal


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("axis", [0, 1])
def test_each_head_is_its_part_decomposed(axis: int, scale: float) -> None:
    w = normal(12, 12, seed=0)
    w[:3] *= 5
    found = head_structures(w * scale, Heads(4, axis))
    parts = [w[3 * i : 3 * i + 3] if axis == 0 else w[:, 3 * i : 3 * i + 3] for i in range(4)]
    for head, part in zip(found, parts, strict=True):
        sigma = np.linalg.svd(part.numpy(), compute_uv=False)
        share = sigma / sigma.sum()
        assert head.frobenius == pytest.approx(np.linalg.norm(part.numpy()) * scale, rel=1e-12)
        assert head.spectral_norm == pytest.approx(sigma[0] * scale, rel=1e-12)
        assert head.stable_rank == pytest.approx((sigma**2).sum() / sigma[0] ** 2)
        assert head.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def test_an_empty_head_is_all_zeros_beside_others() -> None:
    w = normal(4, 6, seed=1)
    w[2:] = 0
    first, second = head_structures(w, Heads(2, 0))
    assert first.frobenius > 0
    assert second == HeadStructure(0.0, 0.0, 0.0, 0.0)
    assert head_structures(torch.zeros(4, 6, dtype=torch.float64), Heads(2, 0)) == (second, second)


def test_the_layer_table_has_heads_where_the_view_has() -> None:
    w = normal(4, 6, seed=2)
    assert layer_structure("fc", DenseView(w), parameters=24).heads == ()
    assert len(layer_structure("q", DenseView(w, heads=Heads(2, 0)), parameters=24).heads) == 2

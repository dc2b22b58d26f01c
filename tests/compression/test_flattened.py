"""Flattening what low rank kept: pairs of every kind, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.compression.factorise import factorise
from brittle.compression.flattened import flatten_kept
from brittle.compression.pairs import factors
from brittle.compression.respectral import flatten_rows, layer_matrix
from brittle.errors import UsageError
from tests.compression.low_rank_cases import dense, normal


def net() -> nn.Module:
    convolutions = [nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)]
    return nn.Sequential(*convolutions, nn.Flatten(), dense(16, 9).float(), nn.Linear(9, 3))


def test_kept_singular_values_become_equal_at_the_same_norm() -> None:
    child = factorise(net(), {"0": 2, "1": 3, "3": 4})
    flat = flatten_kept(child, 1.0)
    for name in ("0", "1", "3"):
        before = torch.linalg.svdvals(torch.matmul(*factors(child.get_submodule(name))))
        after = torch.linalg.svdvals(torch.matmul(*factors(flat.get_submodule(name))))
        rank = {"0": 2, "1": 3, "3": 4}[name]
        assert after[:rank].max() < before[:rank].max()
        assert float(after.norm()) == pytest.approx(float(before.norm()), rel=1e-6)
        # Values that lead: with 95 % of the squares between them
        count = int((before.square().cumsum(0) < 0.95 * before.square().sum()).sum()) + 1
        assert count > 1
        assert torch.allclose(after[:count], after[0].expand(count), rtol=1e-5)
        assert torch.allclose(after[count:], before[count:], atol=1e-6)
    assert torch.equal(flat[4].weight, child[4].weight)
    x = normal(2, 2, 2, 2, seed=0).float()
    assert torch.allclose(flatten_kept(child, 0.0)(x), child(x), atol=1e-5)


def test_rows_of_a_pair_over_the_channels_are_its_filters() -> None:
    child = factorise(net(), {"1": 3})
    flat = flatten_rows(child, 1.0, ["1"])
    lengths = layer_matrix(flat[1]).abs().sum(1)
    before = layer_matrix(child[1])
    order = before.norm(dim=1).square().sort(descending=True).values.cumsum(0)
    count = int((order < 0.95 * order[-1]).sum()) + 1
    top = before.norm(dim=1).argsort(descending=True)[:count]
    assert torch.allclose(lengths[top], lengths[top[0]].expand(count), rtol=1e-5)


def test_strength_is_checked() -> None:
    with pytest.raises(UsageError, match=r"strength of a change of weights is in \[0, 1\], got 2"):
        flatten_kept(factorise(net(), {"3": 4}), 2)

"""Unfoldings: the layer's function at full rank, weights counted, the cheaper one found by counting both."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from brittle.compression.pairs import kernel
from brittle.compression.unfoldings import (
    CHANNELS,
    FILTERS,
    UNFOLDINGS,
    Unfolding,
    cheaper,
    full_rank,
    pair_weights,
    spatial_part,
    unfolding_of,
    weights_at,
)
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from tests.compression.low_rank_cases import CONVOLUTIONS, dense, normal


@pytest.mark.parametrize("unfolding", UNFOLDINGS.values(), ids=UNFOLDINGS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_product_that_is_the_whole_matrix_gives_the_layers_function(name: str, unfolding: Unfolding) -> None:
    layer, shape = CONVOLUTIONS[name]
    matrix = unfolding.matrix(kernel(layer))
    assert tuple(matrix.shape) == unfolding.sides(tuple(layer.weight.shape))
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    pair = unfolding.pair(layer, u * s, vt, layer.bias)
    x = normal(3, *shape, seed=0)
    assert torch.allclose(pair(x), layer(x))
    assert torch.allclose(kernel(pair), kernel(layer))
    assert len(s) == full_rank(layer, unfolding)
    assert isinstance(pair, LowRankConv2dIn if unfolding is CHANNELS else LowRankConv2d)


def test_a_dense_layers_pair_and_what_it_inherits() -> None:
    layer = dense(5, 4, bias=False).float().eval()
    layer.weight.requires_grad_(False)
    pair = FILTERS.pair(layer, torch.eye(4), layer.weight.double(), None)
    x = normal(3, 5, seed=0).float()
    assert torch.allclose(pair(x), layer(x), atol=1e-6)
    assert isinstance(pair, LowRankLinear)
    assert pair.second.bias is None
    assert not pair.training
    assert {(p.dtype, p.requires_grad) for p in pair.parameters()} == {(torch.float32, False)}


SIZES = st.integers(1, 9)


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_the_cheaper_unfolding_has_fewest_weights_at_every_rank(h: int, c: int, tall: int, wide: int, r: int) -> None:
    size = tall * wide
    counts = {"filters": r * c * size + h * r, "channels": r * c + h * r * size}
    chosen = cheaper((h, c, tall, wide))
    assert counts["channels" if chosen is CHANNELS else "filters"] == min(counts.values())
    assert pair_weights((h, c, tall, wide), r) == min(h * c * size, *counts.values())
    assert pair_weights((h, c), r) == min(h * c, r * (h + c))
    assert pair_weights((h, c), 0) == h * c


@pytest.mark.parametrize("unfolding", [FILTERS, CHANNELS])
@pytest.mark.parametrize("rank", [1, 2])
def test_weights_are_those_of_the_built_pair(unfolding: Unfolding, rank: int) -> None:
    layer = nn.Conv2d(8, 9, 3)
    m, n = unfolding.sides(tuple(layer.weight.shape))
    pair = unfolding.pair(layer, torch.ones(m, rank), torch.ones(rank, n), layer.bias)
    assert weights_at(layer, rank, unfolding) == sum(p.numel() for p in pair.parameters()) - 9
    assert weights_at(layer, 8, unfolding) == weights_at(layer, 0, unfolding) == layer.weight.numel()
    # The pair itself is a layer that can be cut further
    assert unfolding_of(pair) is unfolding
    assert full_rank(pair, unfolding) == rank
    assert weights_at(pair, 0, unfolding) == weights_at(layer, rank, unfolding)
    assert weights_at(pair, 1, unfolding) == m + n
    assert spatial_part(pair).kernel_size == (3, 3)


def test_dense_layers_and_1x1_windows_have_one_cheaper_way() -> None:
    assert unfolding_of(nn.Linear(9, 2)) is FILTERS
    assert unfolding_of(nn.Conv2d(9, 2, 1)) is FILTERS
    assert unfolding_of(nn.Conv2d(9, 2, 3)) is CHANNELS
    assert prod(CHANNELS.sides((2, 9, 3, 3))) == prod(FILTERS.sides((2, 9, 3, 3))) == 162

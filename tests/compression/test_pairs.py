"""Pairs as matrices: multiplied out they are the dense layer that computes the same, read and written alike."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from brittle.compression.pairs import (
    balanced,
    bias_of,
    factors,
    kernel,
    kernel_shape,
    low_rank_layers,
    rank_of,
    write_factors,
)
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from tests.compression.low_rank_cases import normal

PAIRS = {
    "linear": LowRankLinear(7, 5, 3).double(),
    "filters": LowRankConv2d(3, 5, (3, 2), 4, stride=2, padding=1).double(),
    "channels": LowRankConv2dIn(5, 3, (3, 2), 4, stride=2, padding=1).double(),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_kernel_computes_what_the_pair_does(name: str) -> None:
    pair = PAIRS[name]
    weight = kernel(pair)
    if name == "linear":
        x = normal(4, 7, seed=0)
        assert torch.allclose(F.linear(x, weight, pair.second.bias), pair(x))
    else:
        x = normal(4, weight.shape[1], 6, 5, seed=0)
        assert torch.allclose(F.conv2d(x, weight, pair.second.bias, stride=2, padding=1), pair(x))
    assert kernel_shape(pair) == weight.shape
    assert bias_of(pair) is pair.second.bias


@pytest.mark.parametrize("name", PAIRS)
def test_factors_written_back_change_nothing_and_others_change_the_product(name: str) -> None:
    pair = copy.deepcopy(PAIRS[name])
    left, right = factors(pair)
    assert left.shape[1] == right.shape[0] == rank_of(pair)
    write_factors(pair, left, right)
    assert all(torch.equal(a, b) for a, b in zip(pair.parameters(), PAIRS[name].parameters(), strict=True))
    write_factors(pair, 2 * left, 3 * right)
    assert torch.allclose(kernel(pair), 6 * kernel(PAIRS[name]))


def test_what_is_read_does_not_change_with_the_layer() -> None:
    pair, layer = copy.deepcopy(PAIRS["linear"]), nn.Linear(2, 2).double()
    read = [*factors(pair), kernel(layer)]
    before = [value.clone() for value in read]
    with torch.no_grad():
        for parameter in (*pair.parameters(), *layer.parameters()):
            parameter.fill_(7)
    assert all(torch.equal(a, b) for a, b in zip(read, before, strict=True))


def test_balanced_factors_have_one_product_and_equal_spectra() -> None:
    left, right = 100 * normal(6, 3, seed=1), normal(3, 8, seed=2)
    a, b = balanced(left, right)
    assert torch.allclose(a @ b, left @ right)
    assert torch.allclose(torch.linalg.svdvals(a), torch.linalg.svdvals(b))
    assert torch.allclose(a.T @ a, b @ b.T)


def test_pairs_are_found_wherever_they_are() -> None:
    model = nn.Sequential(PAIRS["linear"], nn.ModuleDict({"inner": PAIRS["channels"]}), nn.Linear(2, 2))
    assert list(low_rank_layers(model)) == ["0", "1.inner"]

"""Low-rank pairs thinner than their rank."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.compression.thin_pairs import fit_pairs
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear


@pytest.mark.parametrize(
    ("pair", "x", "full"),
    [
        (LowRankLinear(8, 9, 7), (4, 3), 3),
        (LowRankConv2d(3, 8, 3, 7, padding=1), (4, 3, 5, 5), 2),
        (LowRankConv2dIn(8, 9, 3, 7, padding=1), (4, 3, 5, 5), 3),
    ],
    ids=["dense", "filters", "channels"],
)
def test_the_rank_falls_to_the_full_rank_and_the_map_stays(pair: nn.Module, x: tuple[int, ...], full: int) -> None:
    pair = pair.double()
    with torch.no_grad():  # sides shrink, the rank stays 7
        pair.first.weight = nn.Parameter(pair.first.weight[:, :3])
        if full == 2:
            pair.second.weight = nn.Parameter(pair.second.weight[:2])
            pair.second.bias = nn.Parameter(pair.second.bias[:2])
            pair.second.out_channels = 2
    if isinstance(pair.first, nn.Conv2d):
        pair.first.in_channels = 3
    model = nn.Sequential(pair)
    pixels = torch.rand(x, dtype=torch.float64)
    wanted = model(pixels).detach()
    fit_pairs(model, ["0.first", "0.second"])
    assert type(model[0]) is type(pair)
    assert model[0].first.weight.shape[0] == full
    assert torch.allclose(model(pixels), wanted, atol=1e-12)


def test_a_pair_at_or_below_its_full_rank_is_left_alone() -> None:
    model = nn.Sequential(LowRankLinear(4, 5, 4), nn.Linear(5, 2))
    pair = model[0]
    fit_pairs(model, ["0.first", "1"])
    assert model[0] is pair

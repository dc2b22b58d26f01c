"""Sides of modules."""

from __future__ import annotations

import torch
from torch import nn

from brittle.compression.couplings.coupling import Member
from brittle.compression.couplings.sides import (
    has_sides,
    makes_units,
    side_size,
    sized_alike,
    unit_rows,
    weight_members,
    weight_of,
)
from tests.compression.coupled_nets import case


def test_which_modules_have_sides() -> None:
    for module in (
        nn.Linear(2, 3),
        nn.Conv1d(2, 3, 1),
        nn.BatchNorm2d(3),
        nn.BatchNorm1d(3, affine=False),
        nn.PReLU(3),
    ):
        assert has_sides(module)
    half = nn.Linear(2, 3)
    half.weight = nn.Parameter(torch.zeros(3, 2, dtype=torch.int8), requires_grad=False)
    for module in (nn.LayerNorm(3), nn.ConvTranspose2d(2, 3, 1), nn.PReLU(), nn.LazyLinear(3), nn.ReLU(), half):
        assert not has_sides(module)
    assert makes_units(nn.Conv2d(4, 4, 1))
    assert not makes_units(nn.Conv2d(4, 4, 1, groups=2))


def test_sizes_and_weights() -> None:
    assert [side_size(nn.Conv2d(2, 3, 1), side) for side in ("out", "in")] == [3, 2]
    assert [side_size(nn.Linear(2, 3), side) for side in ("out", "in")] == [3, 2]
    assert [side_size(module, "out") for module in (nn.BatchNorm2d(4), nn.PReLU(5))] == [4, 5]
    attention = nn.MultiheadAttention(6, 2)
    assert side_size(attention, "out") == 18
    assert weight_of(attention) is attention.in_proj_weight
    assert weight_of(nn.BatchNorm2d(3)) is None


def test_rows_of_units() -> None:
    weight = torch.arange(24.0).view(4, 3, 2)
    index = ((0, 2), (1, 3))
    rows = unit_rows(weight, Member("a", "out", index))
    assert torch.equal(rows, torch.stack([weight[[0, 2]].flatten(), weight[[1, 3]].flatten()]))
    columns = unit_rows(weight, Member("a", "in", ((2,), (0,))))
    assert torch.equal(columns, torch.stack([weight[:, 2].flatten(), weight[:, 0].flatten()]))


def test_members_with_weights() -> None:
    net = case("cnn, norms and pools")
    made = weight_members(net.model, net.couplings[0], "out")
    assert [member.module for member, _ in made] == ["conv1"]  # not its norm
    assert made[0][1] is net.model.conv1


def test_units_of_one_size() -> None:
    assert sized_alike([[0, 1], [2, 3]], 4)
    for index, size in (([[0], [1, 2]], 4), ([[0], [0]], 4), ([[0], [4]], 4), ([[-1], [0]], 4), ([[], []], 4)):
        assert not sized_alike(index, size)

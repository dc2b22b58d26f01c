"""Nets and samples that the tests of recovery share."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling, Member
from brittle.data.split import Split
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import Recipe, build
from brittle.training.loop import Budget, fit
from tests.training.toys import digits


@cache
def _parent() -> nn.Module:
    net = build(Recipe("mlp", (1, 8, 8), 10, {"width": 32, "depth": 1}), seed=0)
    return fit(net, *digits(), Budget(6, 1e-2), seed=0)


def parent() -> nn.Module:
    return _parent()


def child(width: int = 8) -> nn.Module:
    """The parent's first neurons."""
    small = build(Recipe("mlp", (1, 8, 8), 10, {"width": width, "depth": 1}), seed=0).eval()
    large = parent()
    with torch.no_grad():
        small.fc1.weight.copy_(large.fc1.weight[:width])
        small.fc1.bias.copy_(large.fc1.bias[:width])
        small.head.weight.copy_(large.head.weight[:, :width])
        small.head.bias.copy_(large.head.bias)
    return small


def factored(rank: int = 4) -> nn.Module:
    """The parent with a low-rank first layer, and a copy of its head."""
    first = LowRankLinear.from_linear(parent().fc1, rank)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), copy.deepcopy(parent().head)).eval()


def few(n: int = 128, shown: int = 60) -> tuple[Split, Split]:
    train, validation = digits()
    return Split(train.x[:n], train.y[:n]), Split(validation.x[:shown], validation.y[:shown])


def channels(name: str, units: int, reader: str, places: int = 1) -> Coupling:
    """Units of a layer that one other layer reads, each at so many places."""
    outputs = tuple((j,) for j in range(units))
    inputs = tuple(tuple(range(j * places, (j + 1) * places)) for j in range(units))
    return Coupling(name, "channels", units, (Member(name, "out", outputs), Member(reader, "in", inputs)))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}

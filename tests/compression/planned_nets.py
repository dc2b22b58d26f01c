"""A small trained digits net for the tests of planning, and evidence for it; made once, never changed."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.find import couplings
from brittle.compression.protocols import Evidence
from brittle.data.load import load_data
from brittle.models.recipe import Recipe, build
from brittle.threats import LinfBall
from brittle.training.loop import Budget, fit


def mlp() -> nn.Module:
    """64-48-32-10, trained on digits."""
    return copy.deepcopy(_trained("mlp"))


def cnn() -> nn.Module:
    """Two convolutions, a dense layer behind a flatten, a head; trained on digits."""
    return copy.deepcopy(_trained("cnn"))


def wide_cnn() -> nn.Module:
    """Wider and not trained: a unit or a rank of any layer is less than 3 % of 40 % of its parameters."""
    return build(Recipe("cnn", (1, 8, 8), 10, {"channels": [16, 32], "kernel": 3, "fc": [96]}), seed=0)


def evidence(n: int = 240, *, threat: LinfBall | None = None) -> Evidence:
    """The first n training samples of digits, without a threat unless one is given."""
    train = load_data("digits").split("train")
    return Evidence(train.x[:n], train.y[:n], threat, seed=0)


@cache
def cnn_couplings() -> tuple[Coupling, ...]:
    """The couplings of `cnn`."""
    return couplings(_trained("cnn"), torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


_RECIPES = {
    "mlp": Recipe("mlp", (1, 8, 8), 10, {"widths": [48, 32]}),
    "cnn": Recipe("cnn", (1, 8, 8), 10, {"channels": [12, 16], "kernel": 3, "fc": [40]}),
}


@cache
def _trained(name: str) -> nn.Module:
    data = load_data("digits")
    budget = Budget(epochs=10, learning_rate=5e-3)
    return fit(build(_RECIPES[name], seed=0), data.split("train"), data.split("validation"), budget, seed=0).eval()

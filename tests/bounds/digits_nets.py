"""Networks trained on the embedded digits, once for each process."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from brittle.data.digits import load_digits
from brittle.models.recipe import Recipe, build
from brittle.training.loop import Budget, fit

DIGITS = load_digits()


@cache
def trained(seed: int, epochs: int = 60, width: int = 100) -> nn.Module:
    """The demo's original shape, 64-width-width-10, in eval mode."""
    model = build(Recipe("mlp", (1, 8, 8), 10, {"width": width, "depth": 2}), seed=seed)
    return fit(model, DIGITS.split("train"), DIGITS.split("validation"), Budget(epochs=epochs), seed=seed)


def samples(count: int) -> tuple[Tensor, Tensor]:
    """The first `count` test images in float64, with labels."""
    split = DIGITS.split("test")
    return split.x[:count].to(torch.float64), split.y[:count]

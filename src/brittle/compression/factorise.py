"""Low rank: chosen layers become the product of two thinner ones (truncated SVD)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from brittle.errors import ModelError
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.recipe import attach, recipe_of

_DENSE = (nn.Linear, nn.Conv2d)
_LAYERS = (*_DENSE, LowRankLinear, LowRankConv2d)


def factorise(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """A copy of `model` in which the layers named in `ranks` have that rank; the original is left alone.

    Each is replaced by its best approximation of that rank in Frobenius norm (convolutions: of the reshaped kernel).
    A zoo model's recipe follows, so that the copy can be saved.

    Raises:
        ModelError: an unknown layer, one that is no dense layer or convolution, or a rank out of range.
    """
    layers = [name for name, module in model.named_modules() if isinstance(module, _DENSE)]
    for name in ranks:
        if name not in layers:
            raise ModelError(f"no dense layer or convolution {name!r} to factorise: expected one of {', '.join(layers)}")
    child = copy.deepcopy(model)
    for name, rank in ranks.items():
        parent, _, leaf = name.rpartition(".")
        dense = child.get_submodule(name)
        low = LowRankLinear.from_linear(dense, rank) if isinstance(dense, nn.Linear) else _conv(dense, rank)
        setattr(child.get_submodule(parent), leaf, low)
    recipe = recipe_of(model)
    if recipe is not None:
        attach(child, replace(recipe, options={**recipe.options, "ranks": _plan(child)}))
    return child


def _conv(dense: nn.Module, rank: int) -> LowRankConv2d:
    assert isinstance(dense, nn.Conv2d)
    return LowRankConv2d.from_conv(dense, rank)


def _plan(model: nn.Module) -> list[int]:
    """The rank of every weight layer in order, 0 for dense ones, as recipes write it."""
    plan: list[int] = []
    inside: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, _LAYERS) and module not in inside:
            plan.append(module.first.weight.shape[0] if isinstance(module, LowRankLinear | LowRankConv2d) else 0)
            inside.update(module.modules())
    return plan

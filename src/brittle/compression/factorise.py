"""Low rank: chosen layers become the product of two thinner ones (truncated SVD)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from brittle.errors import ModelError
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.recipe import attach, recipe_of

_DENSE = (nn.Linear, nn.Conv2d)
_LOW = (LowRankLinear, LowRankConv2d)


def factorise(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """A copy of `model` in which the layers named in `ranks` have that rank; the original is left alone.

    Each is replaced by its best approximation of that rank in Frobenius norm (convolutions: of the reshaped kernel).
    A zoo model's recipe follows, so that the copy can be saved.

    Raises:
        ModelError: an unknown layer, one that is no dense layer or convolution, or a rank out of range.
    """
    recipe = recipe_of(model)
    layers = {name: module for name, module in _weight_layers(model, recipe is not None) if isinstance(module, _DENSE)}
    child = copy.deepcopy(model)
    for name, rank in ranks.items():
        if name not in layers:
            raise ModelError(
                f"no dense layer or convolution {name!r} to factorise: expected one of {', '.join(layers)}"
            )
        parent, _, leaf = name.rpartition(".")
        try:
            low = _low_rank(layers[name], rank)
        except ModelError as error:
            raise ModelError(f"layer {name!r}: {error}") from None
        setattr(child.get_submodule(parent), leaf, low)
    if recipe is not None:
        plan = [_rank(module) for _, module in _weight_layers(child, in_recipe=True)]
        attach(child, replace(recipe, options={**recipe.options, "ranks": plan}))
    return child


def _weight_layers(model: nn.Module, in_recipe: bool) -> Iterator[tuple[str, nn.Module]]:
    """Dense and low-rank layers in order, by name; with `in_recipe` those that a recipe gives ranks to."""
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if not name or module in inside or isinstance(module, NonDynamicallyQuantizableLinear):
            continue  # attention reads the weights of its last projection, so that one must stay a plain layer
        if in_recipe and "shortcut" in name.split("."):
            continue  # shortcuts have no ranks in a recipe: a 1 x 1 convolution would gain little
        if isinstance(module, (*_DENSE, *_LOW)):
            inside.update(module.modules())
            yield name, module


def _low_rank(layer: nn.Linear | nn.Conv2d, rank: int) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return LowRankLinear.from_linear(layer, rank)
    return LowRankConv2d.from_conv(layer, rank)


def _rank(layer: nn.Module) -> int:
    """As recipes write it: 0 for a dense layer."""
    return layer.first.weight.shape[0] if isinstance(layer, LowRankLinear | LowRankConv2d) else 0

"""The multilayer perceptron."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from math import prod

from torch import nn

from brittle.models.activations import activation as new_activation
from brittle.models.layers import linear
from brittle.models.options import MAX_LAYERS, PerLayer, at_least, fraction, per_layer, rank_plan


def mlp(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    width: int = 100,
    depth: int = 2,
    widths: PerLayer | None = None,
    ranks: PerLayer | None = None,
    activation: str = "relu",
    bias: bool = True,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Dense layers "fc1", "fc2", ..., each with an activation, and a linear "head"; inputs of any shape are flattened.

    Args:
        input_shape: shape of one input.
        classes: number of logits.
        width: neurons of every hidden layer.
        depth: number of hidden layers; 0 is a linear classifier.
        widths: neurons layer by layer, in place of `width` and `depth`.
        ranks: rank of each hidden layer's factorisation, see `options.rank_plan`.
        activation: a name in `ACTIVATIONS`.
        bias: whether the layers have biases.
        dropout: share of each hidden layer's neurons set to zero in training; the weights keep their names.

    Raises:
        ModelError: a value out of range.
    """
    at_least("depth", 0, (depth,), MAX_LAYERS)
    fraction("dropout", dropout)
    hidden = per_layer("width", width, depth) if widths is None else (widths,) if isinstance(widths, int) else widths
    at_least("widths" if widths is not None else "width", 1, hidden)
    sizes = (prod(input_shape), *hidden, classes)
    shapes = tuple(pairwise(sizes))
    plan = rank_plan(ranks, [min(shape) for shape in shapes])
    modules: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for i in range(len(hidden)):
        modules[f"fc{i + 1}"] = linear(*shapes[i], rank=plan[i], bias=bias)
        modules[f"act{i + 1}"] = new_activation(activation)
        if dropout:
            modules[f"drop{i + 1}"] = nn.Dropout(dropout)
    modules["head"] = linear(*shapes[-1], rank=plan[-1], bias=bias)
    return nn.Sequential(modules)

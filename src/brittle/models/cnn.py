"""The plain convolutional network: convolutions, then dense layers."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from math import prod

from torch import nn

from brittle.errors import ModelError
from brittle.models.activations import activation as new_activation
from brittle.models.layers import conv2d, linear
from brittle.models.options import PerLayer, at_least, fraction, per_layer, rank_plan


def cnn(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    channels: PerLayer = (16, 32),
    kernel: PerLayer = 4,
    stride: PerLayer = 2,
    padding: PerLayer = 1,
    pool: PerLayer = 0,
    fc: PerLayer | None = (100,),
    ranks: PerLayer | None = None,
    activation: str = "relu",
    batch_norm: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Layers "conv1", ... (with "bn1", "act1", "pool1", ...), "flatten", dense layers "fc1", ..., and a linear "head".

    Args:
        input_shape: (channels, height, width) of one image.
        classes: number of logits.
        channels: filters of each convolution; its length is the number of convolutions.
        kernel: side of the square kernels, one for all layers or one each, as for `stride`, `padding` and `pool`.
        stride: step of each convolution.
        padding: zeros around each convolution's input.
        pool: side of the max-pooling windows after each activation, which do not overlap; 0 for none.
        fc: neurons of the dense hidden layers; None or () for none.
        ranks: rank of each layer's factorisation, convolutions first, see `options.rank_plan`.
        activation: a name in `ACTIVATIONS`.
        batch_norm: batch norm between each convolution and its activation; these convolutions then have no bias.
        bias: whether the layers have biases.
        dropout: share of each dense layer's inputs set to zero in training; the weights keep their names.

    Raises:
        ModelError: a value out of range, or an image that a layer shrinks to nothing.
    """
    if len(input_shape) != 3:
        raise ModelError(
            f"cnn takes images (channels, height, width), got an input of shape {input_shape}; use zoo:mlp"
        )
    fraction("dropout", dropout)
    filters = (channels,) if isinstance(channels, int) else channels
    dense = () if fc is None else (fc,) if isinstance(fc, int) else fc
    if not filters:
        raise ModelError(
            "option channels is empty: expected the filters of at least one convolution; use zoo:mlp for none"
        )
    depth = len(filters)
    kernels, strides = per_layer("kernel", kernel, depth), per_layer("stride", stride, depth)
    paddings, pools = per_layer("padding", padding, depth), per_layer("pool", pool, depth)
    for option, values, minimum in (
        ("channels", filters, 1),
        ("kernel", kernels, 1),
        ("stride", strides, 1),
        ("padding", paddings, 0),
        ("pool", pools, 0),
        ("fc", dense, 1),
    ):
        at_least(option, minimum, values)

    inputs = (input_shape[0], *filters[:-1])
    sides = tuple(input_shape[1:])
    for i in range(depth):
        sides = tuple(_side(n, kernels[i], strides[i], paddings[i], pools[i], i, input_shape) for n in sides)
    sizes = (filters[-1] * prod(sides), *dense, classes)
    shapes = tuple(pairwise(sizes))
    full = [min(filters[i], inputs[i] * kernels[i] ** 2) for i in range(depth)] + [min(shape) for shape in shapes]
    plan = rank_plan(ranks, full)

    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(depth):
        modules[f"conv{i + 1}"] = conv2d(
            inputs[i],
            filters[i],
            kernels[i],
            stride=strides[i],
            padding=paddings[i],
            rank=plan[i],
            bias=bias and not batch_norm,
        )
        if batch_norm:
            modules[f"bn{i + 1}"] = nn.BatchNorm2d(filters[i])
        modules[f"act{i + 1}"] = new_activation(activation)
        if pools[i] > 1:
            modules[f"pool{i + 1}"] = nn.MaxPool2d(pools[i])
    modules["flatten"] = nn.Flatten()
    for i in range(len(dense)):
        if dropout:
            modules[f"drop{i + 1}"] = nn.Dropout(dropout)
        modules[f"fc{i + 1}"] = linear(*shapes[i], rank=plan[depth + i], bias=bias)
        modules[f"act{depth + i + 1}"] = new_activation(activation)
    if dropout:
        modules[f"drop{len(dense) + 1}"] = nn.Dropout(dropout)
    modules["head"] = linear(*shapes[-1], rank=plan[-1], bias=bias)
    return nn.Sequential(modules)


def _side(n: int, kernel: int, stride: int, padding: int, pool: int, i: int, input_shape: tuple[int, ...]) -> int:
    """Side of a layer's output for an input of side n."""
    side = (n + 2 * padding - kernel) // stride + 1
    side = side // pool if pool > 1 else side
    if side < 1:
        wanted = "x".join(map(str, input_shape))
        raise ModelError(
            f"conv{i + 1} leaves nothing of a {wanted} input: use fewer layers, smaller kernels or more padding"
        )
    return side

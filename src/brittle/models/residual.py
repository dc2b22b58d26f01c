"""The body that the residual networks share: stem, stages of basic blocks, dense layers, head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn

from brittle.errors import ModelError
from brittle.models.activations import activation as new_activation
from brittle.models.blocks import BasicBlock, check_shortcut, full_ranks
from brittle.models.layers import conv2d, linear
from brittle.models.options import PerLayer, at_least, per_layer, rank_plan


@dataclass(frozen=True)
class Stage:
    """`blocks` basic blocks of `filters` filters; the first has step `stride`, the others 1."""

    filters: int
    blocks: int
    stride: int


@dataclass(frozen=True)
class Style:
    """What all blocks have in common: a name in `SHORTCUTS`, whether there is batch norm, a name in `ACTIVATIONS`."""

    shortcut: str
    batch_norm: bool
    activation: str


def residual(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    stem: int,
    stem_stride: int,
    stages: Sequence[Stage],
    style: Style,
    global_mean: bool,
    dense: tuple[int, ...],
    inner: PerLayer | None,
    ranks: PerLayer | None,
) -> nn.Sequential:
    """A 3 x 3 stem "conv1", stages "layer1", ..., the global mean if asked for, dense layers "fc1", ..., and "head".

    `inner` and `ranks` follow the order of the blocks and of the layers, as `resnet` documents them.

    Raises:
        ModelError: a value out of range.
    """
    if len(input_shape) != 3:
        raise ModelError(f"a residual network takes images (channels, height, width), got {input_shape}; use zoo:mlp")
    check_shortcut(style.shortcut)
    steps = [stage.stride if i == 0 else 1 for stage in stages for i in range(stage.blocks)]
    outs = [stage.filters for stage in stages for _ in range(stage.blocks)]
    ins = [stem, *outs][: len(outs)]
    inners = tuple(outs) if inner is None else per_layer("inner", inner, len(outs))
    at_least("inner", 1, inners)

    pixels = 1 if global_mean else prod(_side(side, (stem_stride, *steps)) for side in input_shape[1:])
    sizes = ([stem, *outs][-1] * pixels, *dense, classes)
    shapes = tuple(pairwise(sizes))
    full = [min(stem, 9 * input_shape[0])]
    full += [rank for block in zip(ins, inners, outs, strict=True) for rank in full_ranks(*block)]
    full += [min(shape) for shape in shapes]
    rank = iter(rank_plan(ranks, full))

    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["conv1"] = conv2d(
        input_shape[0], stem, 3, stride=stem_stride, padding=1, rank=next(rank), bias=not style.batch_norm
    )
    if style.batch_norm:
        modules["bn1"] = nn.BatchNorm2d(stem)
    modules["act1"] = new_activation(style.activation)
    blocks = _blocks(ins, inners, outs, steps, style, rank)
    for number, stage in enumerate(stages, start=1):
        modules[f"layer{number}"] = nn.Sequential(*(next(blocks) for _ in range(stage.blocks)))
    if global_mean:
        modules["pool"] = nn.AdaptiveAvgPool2d(1)
    modules["flatten"] = nn.Flatten()
    for i in range(len(dense)):
        modules[f"fc{i + 1}"] = linear(*shapes[i], rank=next(rank))
        modules[f"fc_act{i + 1}"] = new_activation(style.activation)
    modules["head"] = linear(*shapes[-1], rank=next(rank))
    return nn.Sequential(modules)


def _blocks(
    ins: Sequence[int],
    inners: Sequence[int],
    outs: Sequence[int],
    steps: Sequence[int],
    style: Style,
    rank: Iterator[int],
) -> Iterator[BasicBlock]:
    for a, middle, b, step in zip(ins, inners, outs, steps, strict=True):
        yield BasicBlock(
            a,
            b,
            inner=middle,
            stride=step,
            shortcut=style.shortcut,
            batch_norm=style.batch_norm,
            activation=style.activation,
            ranks=(next(rank), next(rank)),
        )


def _side(n: int, steps: Sequence[int]) -> int:
    """Side of an image after 3 x 3 convolutions with padding 1 and these steps: each divides it, rounding up."""
    for step in steps:
        n = -(-n // step)
    return n

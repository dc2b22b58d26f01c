"""Plans that choose nested sizes for all layers: each weight goes where it keeps most of its layer's energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from brittle.compression.factorable import factorable
from brittle.compression.frontier import Size, nestable, sizes_worth
from brittle.compression.moments import InputMoment
from brittle.compression.pairs import LOW_RANK, kernel_shape
from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.ranks import checked_knob, thin_layers
from brittle.errors import ModelError


def nested_sizes(
    model: nn.Module, positions: Mapping[str, int], moments: Mapping[str, InputMoment] | None = None
) -> Family:
    """Modes and ranks of all layers at once, by the share of a layer's energy that another weight keeps.

    Each layer has the sizes of `brittle.compression.frontier.sizes_worth`, with the whole layer at their end. All begin
    at their smallest; then the step that keeps most for a weight is taken, over and over, where sizes above the lower
    convex hull are worth as much as the hull there. The knob is the share of the remaining weights that is spent.
    Layers that are pairs stay as they are, and so does the head.

    Args:
        model: the network.
        positions: of each channel that dense layers behind a flatten read, from `positions_before`.
        moments: of the inputs of layers, by name; layers without one are weighed by their plain spectra.

    Raises:
        ModelError: no layer gets smaller.
    """
    layers, nested = factorable(model), nestable(model, positions)
    worth = {}
    for name in thin_layers(model):
        layer = layers[name]
        if not isinstance(layer, LOW_RANK):
            each = positions.get(name, 1) if name in nested else 1
            sizes = sizes_worth(layer, (moments or {}).get(name), each)
            worth[name] = [*sizes, Size(None, 0, kernel_shape(layer).numel(), 0.0)]
    steps = sorted((step for name, sizes in worth.items() for step in _steps(name, sizes)), key=_Step.order)
    if not steps:
        raise ModelError("no layer of the model gets smaller when it is nested: choose another method")
    spent = torch.tensor([step.cost for step in steps], dtype=torch.float64).cumsum(0)
    return _Queue({name: sizes[0] for name, sizes in worth.items()}, tuple(steps), spent)


@dataclass(frozen=True)
class _Step:
    """From one size of a layer to the next one."""

    worth: float
    name: str
    to: Size
    cost: int

    def order(self) -> tuple[float, str, int]:
        """Most worth first; within a layer by size."""
        return (-self.worth, self.name, self.to.weights)


@dataclass(frozen=True, eq=False)
class _Queue:
    smallest: Mapping[str, Size]
    steps: tuple[_Step, ...]
    spent: torch.Tensor

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        budget = checked_knob(knob) * float(self.spent[-1])
        sizes = dict(self.smallest)
        for step in self.steps[: int((self.spent <= budget * (1 + 1e-12)).sum())]:
            sizes[step.name] = step.to
        return CompressionPlan(
            ranks={name: size.rank for name, size in sizes.items() if size.rank},
            modes={name: size.modes for name, size in sizes.items() if size.modes is not None},
        )


def _hull(sizes: Sequence[Size]) -> list[Size]:
    """The lower convex hull of what is lost over the weights, from the smallest size to the whole layer."""
    hull: list[Size] = []
    for size in sizes:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], size):
            hull.pop()
        hull.append(size)
    return hull


def _slope(smaller: Size, larger: Size) -> float:
    return (larger.lost - smaller.lost) / (larger.weights - smaller.weights)


def _steps(name: str, sizes: Sequence[Size]) -> list[_Step]:
    hull, steps = _hull(sizes), []
    for before, after in pairwise(sizes):
        edge = next(i for i, corner in enumerate(hull) if corner.weights >= after.weights)
        steps.append(_Step(-_slope(hull[edge - 1], hull[edge]), name, after, after.weights - before.weights))
    return steps

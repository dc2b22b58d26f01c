"""Interval bound propagation (Gowal et al. 2018): the range of every coordinate of every node, batched over inputs.

An affine node with input centre c and radius r has centre `T c + bias` and radius `|T| r`. Every interval is widened
by what float64 can have lost, `2 gamma(terms + 8) (|T| (|c| + r) + |bias|)`: it holds for the network in real numbers.

Nodes that are linear in the input have an exact range over an l_2 ball: their value plus or minus `eps ||row||_2`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.bounds.crown_region import EuclideanBall, Region
from brittle.errors import ModelError
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Reshape, Source, Sum
from brittle.operators.rounding import UNIT, gamma
from brittle.operators.view import LinearView, size

# Functions that float64 evaluates without any rounding.
_EXACT = frozenset({"relu", "relu6", "hardtanh", "clamp", "clamp_min", "abs"})
# Columns of the identity pushed through the linear nodes at a time, in entries of the largest node.
_CHUNK = 2**22


@dataclass(frozen=True)
class Interval:
    """Bounds (b, *shape) of a node; `size` (b,) bounds the magnitude of what its arithmetic adds up, for rounding."""

    lower: Tensor
    upper: Tensor
    size: Tensor

    def intersect(self, lower: Tensor, upper: Tensor) -> Interval:
        """What both bounds allow."""
        return Interval(torch.fmax(self.lower, lower), torch.fmin(self.upper, upper), self.size)


def require_readable(graph: Graph) -> None:
    """Refuse graphs that no local certificate covers.

    Raises:
        ModelError: the output depends on a node that could not be read.
    """
    reasons = graph.problems()
    if reasons:
        raise ModelError(f"local certificates need a network that is read completely: {reasons[0]}; audit without them")


def ibp(graph: Graph, region: Region) -> list[Interval]:
    """Intervals of all nodes over the region.

    Raises:
        ModelError: a node that could not be read.
    """
    require_readable(graph)
    exact = l2_ranges(graph, region, linear_norms(graph)) if isinstance(region, EuclideanBall) else {}
    intervals: list[Interval] = []
    for index, node in enumerate(graph.nodes):
        interval = source_interval(region) if not node.inputs else step(node, [intervals[i] for i in node.inputs])
        intervals.append(interval.intersect(*exact[index]) if index in exact else interval)
    return intervals


def source_interval(region: Region) -> Interval:
    """The pixels' own ranges."""
    return Interval(region.lower, region.upper, region.size)


def step(node: Node, inputs: Sequence[Interval]) -> Interval:
    """A node's interval from those of the nodes it reads."""
    first = inputs[0]
    match node.op:
        case Affine(view, bias):
            return _affine(view, bias, first)
        case Activation():
            return _activation(node.op, first)
        case MaxPool():
            return Interval(node.op.apply(first.lower), node.op.apply(first.upper), first.size)
        case Reshape():
            shape = (len(first.lower), *node.shape)
            return Interval(first.lower.reshape(shape), first.upper.reshape(shape), first.size)
        case Sum(signs):
            return _sum(signs, inputs)
        case _:
            raise ModelError(f"node {node.name!r} has no interval: {getattr(node.op, 'why', 'it reads no other node')}")


def _affine(view: LinearView, bias: Tensor | None, given: Interval) -> Interval:
    center = (given.lower + given.upper) / 2
    # Twice the half width's rounding is added: centre +- radius must cover the interval.
    radius = torch.maximum(given.upper - center, center - given.lower) * (1 + 4 * UNIT)
    out = view.apply(center)
    spread, magnitude = view.abs_apply(torch.cat([radius, center.abs() + radius])).split(len(center))
    if bias is not None:
        out, magnitude = out + bias, magnitude + bias.abs()
    spread = spread + 2 * gamma(view.terms + 8) * magnitude
    return Interval(out - spread, out + spread, _largest(magnitude))


def _activation(op: Activation, given: Interval) -> Interval:
    if op.slopes.low >= 0:
        lower, upper = op.function(given.lower), op.function(given.upper)
    else:
        center = (given.lower + given.upper) / 2
        steepest = max(abs(op.slopes.low), abs(op.slopes.high))
        reach = torch.maximum(given.upper - center, center - given.lower) * steepest * (1 + 8 * UNIT)
        value = op.function(center)
        lower, upper = value - reach, value + reach
    if op.kind not in _EXACT or op.slopes.low < 0:
        slack = function_error(given.lower, given.upper, lower, upper)
        lower, upper = lower - slack, upper + slack
    return Interval(lower, upper, _largest(torch.maximum(lower.abs(), upper.abs())))


def function_error(*tensors: Tensor) -> Tensor:
    """What evaluating a smooth activation can be off: 1e-8 relative to 1 and all numbers involved.

    Far above a library function's last digits, because torch's softplus drops a term of 2e-9 beyond its threshold.
    """
    return 1e-8 * (1.0 + torch.stack([t.abs() for t in tensors]).amax(0))


def _sum(signs: tuple[float, ...], inputs: Sequence[Interval]) -> Interval:
    lower, upper = torch.zeros_like(inputs[0].lower), torch.zeros_like(inputs[0].lower)
    magnitude = torch.zeros_like(lower)
    for sign, part in zip(signs, inputs, strict=True):
        ends = sign * part.lower, sign * part.upper
        lower, upper = lower + torch.minimum(*ends), upper + torch.maximum(*ends)
        magnitude = magnitude + torch.maximum(ends[0].abs(), ends[1].abs())
    slack = 2 * gamma(len(signs) + 4) * magnitude
    return Interval(lower - slack, upper + slack, _largest(magnitude))


def linear_nodes(graph: Graph) -> frozenset[int]:
    """Nodes with nothing but affine maps, sums and reshapes between them and the input (which is not listed)."""
    linear = {i for i, node in enumerate(graph.nodes) if isinstance(node.op, Source)}
    for index, node in enumerate(graph.nodes):
        if node.inputs and isinstance(node.op, Affine | Sum | Reshape) and linear.issuperset(node.inputs):
            linear.add(index)
    return frozenset(i for i in linear if graph.nodes[i].inputs)


def linear_norms(graph: Graph, work_limit: float = 2e10) -> dict[int, Tensor]:
    """Upper bounds of `||row||_2`, (*shape), for every node that is linear in the input; rounding included.

    The identity is pushed forward in blocks of columns; nothing is done where that costs over `work_limit`
    multiply-adds. |T_k| ... |T_1| beside it bounds the products' rounding.
    """
    nodes = linear_nodes(graph)
    pixels = size(graph.nodes[0].shape)
    if pixels * sum(size(graph.nodes[i].shape) * _terms(graph.nodes[i]) for i in nodes) > work_limit or not nodes:
        return {}
    chunk = max(1, _CHUNK // max(size(node.shape) for node in graph.nodes))
    squares = {i: torch.zeros(2, *graph.nodes[i].shape, dtype=torch.float64) for i in nodes}
    for columns in torch.arange(pixels).split(chunk):
        unit = torch.zeros(len(columns), pixels, dtype=torch.float64)
        unit[torch.arange(len(columns)), columns] = 1.0
        values = {0: torch.stack([unit.view(-1, *graph.nodes[0].shape)] * 2)}
        for index in sorted(nodes):
            values[index] = _push(graph.nodes[index], [values[i] for i in graph.nodes[index].inputs])
            squares[index] += values[index].square().sum(1)
    roundings = pixels + 8 + sum(_terms(graph.nodes[i]) + 2 for i in nodes)
    slack = 2 * gamma(roundings)
    return {i: (pair[0].sqrt() + slack * pair[1].sqrt()) * (1 + slack) for i, pair in squares.items()}


def l2_ranges(graph: Graph, ball: EuclideanBall, norms: Mapping[int, Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
    """Exact ranges of the nodes in `norms` over the ball: value at the centre plus or minus `eps ||row||_2`."""
    points = {0: Interval(ball.x, ball.x, _largest(ball.x.abs()))}
    ranges = {}
    for index in sorted(norms):
        node = graph.nodes[index]
        points[index] = step(node, [points[i] for i in node.inputs])
        reach = ball.epsilon.view(-1, *([1] * len(node.shape))) * norms[index] * (1 + 4 * UNIT)
        slack = 4 * UNIT * points[index].size.view(-1, *([1] * len(node.shape)))
        ranges[index] = (points[index].lower - reach - slack, points[index].upper + reach + slack)
    return ranges


def _push(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """The node's linear part on pairs (2, columns, *shape): the value, and the same with all signs taken away."""
    match node.op:
        case Affine(view, _):
            return torch.stack([view.apply(inputs[0][0]), view.abs_apply(inputs[0][1])])
        case Sum(signs):
            both = [torch.stack([s * v[0], abs(s) * v[1]]) for s, v in zip(signs, inputs, strict=True)]
            return torch.stack(both).sum(0)
        case _:
            return inputs[0].reshape(*inputs[0].shape[:2], *node.shape)


def _terms(node: Node) -> int:
    return node.op.view.terms if isinstance(node.op, Affine) else len(node.inputs)


def _largest(values: Tensor) -> Tensor:
    return values.flatten(1).amax(1)

"""A network's encoder as a chain of linear segments: what Theorem 3.2 speaks about, and why some networks are none.

A segment is a run of affine maps without anything non-linear between them; its matrix is their product. Segments are
separated by gates: activations and poolings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from brittle.operators.activations import Slopes
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Reshape, Source
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.view import LinearView, dense, size

# A segment's matrix is written out up to this many entries (32 MB) and this short side; larger ones are not aligned.
_MAX_ENTRIES = 4e6
_MAX_SIDE = 1024


@dataclass(frozen=True)
class Gate:
    """What stands between two segments: steepest slopes and poolings, and the one activation where it is alone.

    `slopes` is None where a pair may not cross the gate. `factors[p]` bounds its Lipschitz constant in l_p.
    """

    slopes: Slopes | None
    factors: dict[str, float]


@dataclass(frozen=True, eq=False)
class Segment:
    """Affine maps in a row: (node index, name, view) of each, the first applied first, and the gate after them."""

    maps: tuple[tuple[int, str, LinearView], ...]
    gate: Gate

    @property
    def affordable(self) -> bool:
        """Whether its matrix can be written out, and its pairs' norms be computed, in seconds."""
        shapes = [(size(view.in_shape), size(view.out_shape)) for _, _, view in self.maps]
        return bool(shapes) and all(m * n <= _MAX_ENTRIES and min(m, n) <= _MAX_SIDE for m, n in shapes)

    @cached_property
    def matrix(self) -> Tensor:
        """The product of the maps' matrices, (outputs, inputs) float64."""
        first, *rest = (dense(view) for _, _, view in self.maps)
        for matrix in rest:
            first = matrix @ first
        return first


@dataclass(frozen=True)
class Chain:
    """The encoder's segments in order; empty with `why` where the network is no chain with a linear head.

    `head` is the last layer's weight C (classes, width).
    """

    segments: tuple[Segment, ...] = ()
    head: Tensor | None = None
    why: str = ""


@dataclass
class _Open:
    """A segment under construction."""

    maps: list[tuple[int, str, LinearView]] = field(default_factory=list)
    activations: list[Slopes] = field(default_factory=list)
    pools: list[float] = field(default_factory=list)

    def closed(self) -> Segment:
        steepest = prod(max(abs(s.low), abs(s.high)) for s in self.activations)
        alone = len(self.activations) == 1 and not self.pools
        slopes = self.activations[0] if alone else None
        return Segment(tuple(self.maps), Gate(slopes, {"linf": steepest, "l2": steepest * prod(self.pools)}))


def encoder_chain(graph: Graph) -> Chain:
    """The layers between the pixels and the linear head."""
    problems = graph.problems()
    if problems:
        return Chain(why="; ".join(problems))
    path = _path(graph)
    if isinstance(path, str):
        return Chain(why=path)
    while path and isinstance(graph.nodes[path[-1]].op, Reshape):
        path.pop()
    head = graph.nodes[path.pop()].op
    if not isinstance(head, Affine) or not isinstance(head.view, DenseView | FactorisedView):
        return Chain(why="the last step is no linear head, so there is no encoder before one")
    segments: list[Segment] = []
    current = _Open()
    for index in path:
        node = graph.nodes[index]
        if isinstance(node.op, Affine) and (current.activations or current.pools):
            segments.append(current.closed())
            current = _Open()
        _take(current, graph, index, node)
    segments.append(current.closed())
    return Chain(tuple(segments), head.view.matrix())


def _path(graph: Graph) -> list[int] | str:
    """Node indices from the input to the output, or why they do not form one path."""
    path = [len(graph.nodes) - 1]
    while graph.nodes[path[-1]].inputs:
        inputs = graph.nodes[path[-1]].inputs
        if len(inputs) > 1:
            return (
                "Theorem 3.2 is about chains of layers; this network adds branches "
                f"(residual connections, one of them at {graph.nodes[path[-1]].name or 'its output'})"
            )
        path.append(inputs[0])
    return path[::-1]


def _take(current: _Open, graph: Graph, index: int, node: Node) -> None:
    match node.op:
        case Affine(view, _):
            current.maps.append((index, node.name, view))
        case Activation(slopes=slopes):
            current.activations.append(slopes)
        case MaxPool():
            current.pools.append(node.op.overlap(graph.nodes[node.inputs[0]].shape) ** 0.5 * (1 + 2.0**-51))
        case Source() | Reshape():
            pass


def window_overlap(view: LinearView) -> int:
    """The most output windows that touch one input (1 for dense layers): `||T||_2 <= sqrt(overlap) ||W||_2`."""
    axes = getattr(view.product if isinstance(view, FactorisedView) else view, "axes", ())
    most = 1
    for axis in axes:
        reads = axis.reads().flatten()
        met = reads[reads >= 0]
        most *= int(torch.bincount(met).max()) if len(met) else 1
    return most

"""A network as a graph of affine maps, activations, poolings and sums: what bounds and certificates work on.

Legend: b batch. Nodes stand in topological order, node 0 is the input (pixels), values are (b, *shape) in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from brittle.operators.activations import Slopes
from brittle.operators.view import LinearView


@dataclass(frozen=True)
class Source:
    """The input."""


@dataclass(frozen=True)
class Affine:
    """`T x + bias`; bias is None or broadcasts to the output's shape."""

    view: LinearView
    bias: Tensor | None


@dataclass(frozen=True)
class Activation:
    """A scalar function applied to every coordinate, with its slope interval; `kind` is its name ("relu", ...)."""

    kind: str
    slopes: Slopes
    function: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MaxPool:
    """Two-dimensional max pooling (arguments as torch's; pairs)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool

    def apply(self, x: Tensor) -> Tensor:
        """The pooled map: (b, c, h, w) -> (b, c, h', w')."""
        return F.max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)

    def overlap(self, shape: tuple[int, ...]) -> int:
        """The most windows that share one pixel of an input of `shape` (c, h, w), by counting."""
        count = 1
        for n, k, s, p, d, out in zip(
            shape[-2:], self.kernel, self.stride, self.padding, self.dilation, self._out(shape), strict=True
        ):
            hits = torch.zeros(n, dtype=torch.int64)
            for window in range(out):
                for tap in range(k):
                    position = window * s - p + tap * d
                    if 0 <= position < n:
                        hits[position] += 1
            count *= int(hits.max())
        return max(count, 1)

    def _out(self, shape: tuple[int, ...]) -> tuple[int, int]:
        out = self.apply(torch.zeros(1, 1, *shape[-2:])).shape
        return out[-2], out[-1]


@dataclass(frozen=True)
class Sum:
    """A signed sum of its inputs (a residual connection)."""

    signs: tuple[float, ...]


@dataclass(frozen=True)
class Reshape:
    """The same coordinates in the same order under another shape."""


@dataclass(frozen=True)
class Opaque:
    """Something without a global bound or not understood; `why` says what.

    `inherent` where the operation itself has no constant, or none that says anything, however well it is read.
    """

    why: str
    inherent: bool = False


Op = Source | Affine | Activation | MaxPool | Sum | Reshape | Opaque


@dataclass(frozen=True)
class Node:
    """One step: `name` (the module's name where there is one), the operation, the nodes it reads, its output shape."""

    name: str
    op: Op
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A weight layer for the layer table: a view (batch norm folded) and how many parameters belong to it.

    `on_input` is False where the input size is unknown, so that only the structure matrix can be measured.
    """

    name: str
    view: LinearView
    parameters: int
    on_input: bool


@dataclass(frozen=True)
class Graph:
    """The nodes; the last one is the output (logits)."""

    nodes: tuple[Node, ...]

    def problems(self) -> tuple[str, ...]:
        """Why no global constant exists: the reasons of the opaque nodes that the output depends on.

        Where some of them have none by nature, what was merely not understood beside them does not matter.
        """
        needed = {len(self.nodes) - 1}
        for index in range(len(self.nodes) - 1, -1, -1):
            if index in needed:
                needed.update(self.nodes[index].inputs)
        found = [node.op for i, node in enumerate(self.nodes) if i in needed and isinstance(node.op, Opaque)]
        inherent = [op for op in found if op.inherent]
        return tuple(dict.fromkeys(op.why for op in inherent or found))

    def evaluate(self, x: Tensor) -> list[Tensor]:
        """Values of all nodes for x (b, *shape) in float64; only for graphs without opaque nodes."""
        values: list[Tensor] = []
        for node in self.nodes:
            arguments = [values[i] for i in node.inputs]
            values.append(_value(node, arguments) if node.inputs else x)
        return values

    def consumers(self) -> list[list[int]]:
        """For every node the nodes that read it."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for source in node.inputs:
                readers[source].append(index)
        return readers


def _value(node: Node, inputs: list[Tensor]) -> Tensor:
    match node.op:
        case Affine(view, bias):
            value = view.apply(inputs[0])
            return value if bias is None else value + bias
        case Activation(function=function):
            return function(inputs[0])
        case MaxPool():
            return node.op.apply(inputs[0])
        case Sum(signs):
            return sum((s * v for s, v in zip(signs[1:], inputs[1:], strict=True)), signs[0] * inputs[0])
        case Reshape():
            return inputs[0].reshape(len(inputs[0]), *node.shape)
        case _:
            raise ValueError(f"node {node.name!r} cannot be evaluated: {getattr(node.op, 'why', 'no input')}")

"""A network as dense matrices with activations between them: what LipSDP works on.

`W_n phi_{n-1}(W_{n-1} ... phi_1(W_1 x))`, biases left out: they do not matter for differences. Affine maps in a row
are multiplied out; what rounding can have added to a product is kept entry by entry, by `|fl(A B) - A B| <= gamma_k
|A||B|`.

Legend: d_i coordinates after layer i (d_0 inputs, d_n = K logits). Float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from brittle.operators.activations import Slopes
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Opaque, Reshape, Source, Sum
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.rounding import gamma, unit_scaled
from brittle.operators.view import LinearView, dense, size

# Sums and products of non-negative error terms are themselves rounded; this covers them.
_OUT = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class DenseMap:
    """One matrix: the true one is within `slack` of `matrix` (d_out, d_in), entry by entry; None where it is exact."""

    matrix: Tensor
    slack: Tensor | None

    def zero(self) -> bool:
        """Whether the true matrix is zero for certain."""
        return not bool(self.matrix.any()) and (self.slack is None or not bool(self.slack.any()))

    def errors(self) -> Tensor:
        """`slack`, zeros where it is None."""
        return torch.zeros_like(self.matrix) if self.slack is None else self.slack

    def after(self, other: DenseMap) -> DenseMap:
        """The product `self other`."""
        product = self.matrix @ other.matrix
        error = gamma(other.matrix.shape[0] + 2) * (self.matrix.abs() @ other.matrix.abs())
        if other.slack is not None:
            error = error + self.matrix.abs() @ other.slack
        if self.slack is not None:
            error = error + self.slack @ (other.matrix.abs() + other.errors())
        return DenseMap(product, error * _OUT)

    def times(self, factor: float) -> DenseMap:
        """`factor self`."""
        product = factor * self.matrix
        return DenseMap(product, (gamma(1) * product.abs() + abs(factor) * self.errors()) * _OUT)


@dataclass(frozen=True, eq=False)
class DenseChain:
    """`maps[i]` is W_{i+1}, `slopes[i]` those of the activation after it; one activation fewer than maps."""

    maps: tuple[DenseMap, ...]
    slopes: tuple[Slopes, ...]

    def unit(self) -> tuple[DenseChain, int]:
        """Every matrix divided by its own power of two, largest entry in [1/2, 1), and the exponents' sum.

        A Lipschitz constant of the result times `2^sum` is one of this chain.

        Raises:
            ModelError: NaN or infinite weights.
        """
        scaled, total = [], 0
        for m in self.maps:
            matrix, exponent = unit_scaled(m.matrix)
            slack = None if m.slack is None else m.slack * 2.0 ** -(exponent // 2) * 2.0 ** (exponent // 2 - exponent)
            scaled.append(DenseMap(matrix, slack))
            total += exponent
        return DenseChain(tuple(scaled), self.slopes), total


@dataclass(frozen=True)
class NotDense:
    """Why a network has no dense chain."""

    why: str


def dense_chain(graph: Graph, max_width: int = 2048) -> DenseChain | NotDense:
    """The chain of a graph of affine maps and activations on one path; convolutions are written out as matrices.

    An activation with a single slope (low = high) joins the linear maps around it; between two activations, or before
    the first and after the last, stands the identity.

    Args:
        graph: as read by `read_network`.
        max_width: the most coordinates a value on the path may have; time grows with its cube.
    """
    path = _path(graph)
    if isinstance(path, NotDense):
        return path
    widest = max(size(graph.nodes[i].shape) for i in path)
    if widest > max_width:
        return NotDense(f"a layer has {widest} coordinates, more than the {max_width} that dense matrices are made for")
    maps: list[DenseMap] = []
    slopes: list[Slopes] = []
    current: DenseMap | None = None
    for index in path:
        node = graph.nodes[index]
        match node.op:
            case Affine(view, _):
                here = dense_map(view)
                current = here if current is None else here.after(current)
            case Activation(slopes=interval):
                width = size(node.shape)
                current = current or _identity(width)
                if interval.low == interval.high:
                    current = current.times(interval.low)
                    continue
                maps.append(current)
                slopes.append(interval)
                current = None
    maps.append(current or _identity(size(graph.nodes[path[-1]].shape)))
    return DenseChain(tuple(maps), tuple(slopes))


def dense_map(view: LinearView) -> DenseMap:
    """The matrix of a layer with its rounding: exact for weights as they are stored."""
    if isinstance(view, DenseView) and len(view.in_shape) == 1:
        return DenseMap(view.weight, None)
    if isinstance(view, FactorisedView):
        return dense_map(view.outer).after(dense_map(view.inner))
    matrix = dense(view)
    # Columns are images of unit vectors: one product each, but padding modes and means may add several taps.
    n = matrix.shape[1]
    magnitude = view.abs_apply(torch.eye(n, dtype=torch.float64).view(n, *view.in_shape)).flatten(1).T
    return DenseMap(matrix, 2 * gamma(view.terms + 2) * magnitude)


def _identity(width: int) -> DenseMap:
    return DenseMap(torch.eye(width, dtype=torch.float64), None)


def _path(graph: Graph) -> list[int] | NotDense:
    path = [len(graph.nodes) - 1]
    while graph.nodes[path[-1]].inputs:
        node = graph.nodes[path[-1]]
        match node.op:
            case Sum():
                return NotDense(f"LipSDP is for chains of layers; branches are added at {node.name or 'the output'!r}")
            case MaxPool():
                return NotDense(f"LipSDP is for layers and activations; {node.name!r} is a max pooling")
            case Opaque(why):
                return NotDense(why)
            case Activation(slopes=interval) if not -inf < interval.low <= interval.high < inf:
                return NotDense(f"the slopes of {node.name!r} are not bounded")
            case Affine() | Activation() | Reshape() | Source():
                path.append(node.inputs[0])
    return path[::-1]

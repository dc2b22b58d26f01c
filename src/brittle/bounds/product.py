"""The product of norms, the simplest sound Lipschitz constant, on any graph of affine maps, activations and sums.

`L(affine) = ||T|| L`, `L(activation) = max(|low|, |high|) L`, `L(sum) = sum |sign| L` (so `x + f(x)` has `1 + Lip f`),
`L(max pool) = L` in l_inf and `sqrt(overlap) L` in l_2 (theory section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan

from brittle.operators.fold import Weight
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Reshape, Source, Sum
from brittle.operators.norms import OPERATOR_NORMS
from brittle.operators.rounding import above
from brittle.results.layer import NormBound


def node_norms(graph: Graph, norm: str, known: Mapping[str, NormBound]) -> dict[int, NormBound]:
    """The operator norm of every affine node; `known` holds those of named weight layers that were measured already."""
    norms = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node.op, Affine):
            view = node.op.view
            measured = known.get(node.name) if isinstance(view, Weight) else None
            norms[index] = OPERATOR_NORMS[norm](view) if measured is None else measured
    return norms


def product_constants(graph: Graph, norm: str, norms: Mapping[int, NormBound]) -> tuple[float, ...]:
    """For each node an upper bound on its Lipschitz constant from the pixels, l_p to l_p; infinite for opaque nodes."""
    constants: list[float] = []
    for index, node in enumerate(graph.nodes):
        before = [constants[i] for i in node.inputs]
        match node.op:
            case Source():
                value = 1.0
            case Affine():
                value = above(norms[index].value * before[0], 1)
            case Activation(slopes=slopes):
                value = above(max(abs(slopes.low), abs(slopes.high)) * before[0], 1)
            case Sum(signs):
                value = above(sum(abs(s) * b for s, b in zip(signs, before, strict=True)), len(signs) + 1)
            case MaxPool():
                overlap = 1 if norm == "linf" else node.op.overlap(graph.nodes[node.inputs[0]].shape)
                value = above(overlap**0.5 * before[0], 2)
            case Reshape():
                value = before[0]
            case _:
                value = inf
        constants.append(inf if isnan(value) else value)
    return tuple(constants)

"""The product of norms, the simplest sound Lipschitz constant, on any graph of affine maps, activations and sums.

`L(affine) = ||T|| L`, `L(activation) = max(|low|, |high|) L`, `L(sum) = sum |sign| L` (so `x + f(x)` has `1 + Lip f`),
`L(max pool) = L` in l_inf and `sqrt(overlap) L` in l_2 (theory section 4).
"""

from __future__ import annotations

from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Sum
from brittle.results.layer import NormBound
from brittle.operators.norms import OPERATOR_NORMS

# One multiplication in float64 rounds by at most 2^-53; each step's factor is inflated by more than that.
_STEP = 1 + 2.0**-51


def node_norms(graph: Graph, norm: str, known: dict[str, NormBound]) -> dict[int, NormBound]:
    """The operator norm of every affine node; `known` holds those of named layers that were measured already."""
    norms = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node.op, Affine):
            norms[index] = known[node.name] if node.name in known else OPERATOR_NORMS[norm](node.op.view)
    return norms


def product_constants(graph: Graph, norm: str, norms: dict[int, NormBound]) -> tuple[float, ...]:
    """For each node an upper bound on its Lipschitz constant from the pixels, l_p to l_p."""
    constants: list[float] = []
    for index, node in enumerate(graph.nodes):
        before = [constants[i] for i in node.inputs]
        match node.op:
            case Affine():
                value = norms[index].value * before[0] * _STEP
            case Activation(slopes=slopes):
                value = max(abs(slopes.low), abs(slopes.high)) * before[0] * _STEP
            case Sum(signs):
                value = sum(abs(s) * b for s, b in zip(signs, before, strict=True)) * _STEP**2
            case MaxPool():
                factor = 1.0 if norm == "linf" else node.op.overlap(graph.nodes[node.inputs[0]].shape) ** 0.5
                value = factor * before[0] * _STEP
            case _:
                value = before[0] if before else 1.0
        constants.append(value)
    return tuple(constants)

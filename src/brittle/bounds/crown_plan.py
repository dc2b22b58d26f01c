"""What CROWN will cost, before any of it runs, and which layers get their ranges from it.

Work is counted in multiply-adds; element-wise passes count too, as they cost about as much as sparse layers. Only
coordinates that an activation does not treat linearly are bounded again; how many is known only at run time, so a fixed
share is assumed. The plan depends on the network alone: results do not depend on the machine or on time.
"""

from __future__ import annotations

from dataclasses import dataclass

from brittle.operators.conv import ConvView
from brittle.operators.graph import Activation, Affine, Graph, MaxPool
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.view import LinearView, size

# Share of a layer's coordinates assumed to need CROWN: 0.3 to 1.0 by layer on ResNet-2B at l_inf 2/255.
UNSTABLE = 0.5
# Passes over a node's coordinates beside the layers' products, in units of one multiply-add.
_PASSES = 10.0


@dataclass(frozen=True)
class Plan:
    """`refine`: nodes whose ranges come from CROWN; `left`: those that interval bounds must serve, by name.

    `work` is the expected number of multiply-adds for one input and one radius.
    """

    refine: frozenset[int]
    left: tuple[str, ...]
    work: float


def plan(graph: Graph, work_per_input: float) -> Plan:
    """Refine nodes in order while the expected work stays within `work_per_input`; the output is always bounded.

    A plan whose `work` exceeds `work_per_input` means: even the output alone costs more.
    """
    costs = row_costs(graph)
    work = size(graph.nodes[-1].shape) * costs[-1]
    refine: list[int] = []
    left: list[str] = []
    for index in before_nonlinear(graph):
        more = 2 * UNSTABLE * size(graph.nodes[index].shape) * costs[index]
        if not left and work + more <= work_per_input:
            refine.append(index)
            work += more
        else:
            left.append(graph.nodes[index].name or f"node {index}")
    return Plan(frozenset(refine), tuple(left), work)


def before_nonlinear(graph: Graph) -> tuple[int, ...]:
    """Nodes that an activation or a pooling reads, in order; outputs of activations need no second look."""
    read = {i for node in graph.nodes if isinstance(node.op, Activation | MaxPool) for i in node.inputs}
    return tuple(i for i in sorted(read) if graph.nodes[i].inputs and not isinstance(graph.nodes[i].op, Activation))


def row_costs(graph: Graph) -> list[float]:
    """Multiply-adds of pulling one functional of each node back to the input."""
    ancestors: list[frozenset[int]] = []
    costs = []
    own = [
        _PASSES * size(node.shape) + (_products(node.op.view) if isinstance(node.op, Affine) else 0.0)
        for node in graph.nodes
    ]
    for index, node in enumerate(graph.nodes):
        ancestors.append(frozenset({index}).union(*(ancestors[i] for i in node.inputs)))
        costs.append(sum(own[i] for i in ancestors[index]))
    return costs


def _products(view: LinearView) -> float:
    match view:
        case DenseView() | ConvView():
            return float(size(view.out_shape)) * view.matrix().shape[1]
        case FactorisedView():
            return _products(view.outer) + _products(view.inner)
        case _:
            return float(size(view.in_shape) + size(view.out_shape))

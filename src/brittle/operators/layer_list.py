"""The layer table's layers from a graph, and what became of every parameter: in a layer, folded, or unmeasured."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from brittle.operators.fold import Weight
from brittle.operators.graph import Affine, Layer, Node
from brittle.operators.linear import FactorisedView
from brittle.operators.program import Program
from brittle.results.layer import Unmeasured


@dataclass(frozen=True)
class Inventory:
    """Every parameter of a model is counted in one layer, or named in `folded` or `unmeasured`."""

    layers: tuple[Layer, ...]
    folded: tuple[str, ...]
    unmeasured: tuple[Unmeasured, ...]


def take_inventory(model: nn.Module, program: Program, nodes: tuple[Node, ...]) -> Inventory:
    """The weight layers of the graph's `nodes` in order, then weights that only occur where the graph is opaque.

    A weight used several times is one layer, with the operator of its first use.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    used = program.used
    layers: list[Layer] = []
    counted: set[str] = set()
    merged: set[str] = set()
    for node in nodes:
        if not isinstance(node.op, Affine) or not isinstance(node.op.view, Weight):
            continue
        labels = [node.name]
        if isinstance(node.op.view, FactorisedView):
            labels += [part for part in used if part.startswith(node.name + ".")]
            merged.update(labels)
        if any(layer.name == node.name for layer in layers):
            continue
        fresh = _fresh(labels, used, counted)
        layers.append(Layer(node.name, node.op.view, sum(sizes[p] for p in fresh), on_input=True))
    for label, view in program.weights:
        if label not in merged and all(layer.name != label for layer in layers):
            fresh = _fresh([label], used, counted)
            layers.append(Layer(label, view, sum(sizes[p] for p in fresh), on_input=False))

    folded = {p for owned in used.values() for p in owned} - counted
    rest = [(name, p) for name, p in model.named_parameters() if name not in counted | folded]
    return Inventory(
        tuple(layers),
        tuple(name for name in sizes if name in folded),
        tuple(Unmeasured(name, tuple(p.shape), _why(p.dim())) for name, p in rest),
    )


def _fresh(labels: list[str], used: dict[str, list[str]], counted: set[str]) -> list[str]:
    owned = [p for label in labels for p in used.get(label, [])]
    fresh = [p for p in dict.fromkeys(owned) if p not in counted]
    counted.update(fresh)
    return fresh


def _why(axes: int) -> str:
    return (
        "not a matrix (gain, shift or token)" if axes < 2 else "not used, or used by an operation that is not covered"
    )

"""The layer table's layers from a graph, and what became of every parameter: in a layer, folded, or unmeasured."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from brittle.operators.by_class import matrix_layers
from brittle.operators.fold import Weight
from brittle.operators.graph import Affine, Layer, Node
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.matrices import Held, held_matrices
from brittle.operators.program import Program
from brittle.operators.reasons import why_unmeasured
from brittle.results.layer import Unmeasured


@dataclass(frozen=True)
class Inventory:
    """Every parameter of a model is counted in one layer, or named in `folded` or `unmeasured`."""

    layers: tuple[Layer, ...]
    folded: tuple[str, ...]
    unmeasured: tuple[Unmeasured, ...]


def take_inventory(model: nn.Module, program: Program, nodes: tuple[Node, ...]) -> Inventory:
    """The weight layers in the order in which the model uses them, on their real inputs where the graph knows those.

    A weight used several times is one layer, with the operator of its first use; one that holds several matrices
    (queries, keys and values) is as many layers. Weights in operations that are not covered are found by their
    modules' classes.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    known = {held.label: held for held in held_matrices(model)}
    used = program.used
    place: dict[str, int] = {}
    for label, _ in program.weights:
        place.setdefault(label, len(place))
    placed: list[tuple[int, Layer]] = []
    labelled: set[str] = set()
    counted: set[str] = set()
    merged: set[str] = set()
    for node in nodes:
        if not isinstance(node.op, Affine) or not isinstance(node.op.view, Weight):
            continue
        labels = [node.name]
        if isinstance(node.op.view, FactorisedView):
            labels += [part for part in used if part.startswith(node.name + ".")]
            merged.update(labels)
        if node.name in labelled:
            continue
        labelled.add(node.name)
        fresh = _fresh(labels, used, counted)
        whole = Layer(node.name, node.op.view, sum(sizes[p] for p in fresh), on_input=True)
        at = min(place[label] for label in labels if label in place)
        placed += [(at, layer) for layer in _parts(whole, known.get(node.name))]
    for label, view in program.weights:
        if label not in merged and label not in labelled:
            labelled.add(label)
            fresh = _fresh([label], used, counted)
            # A linear layer's norms are its matrix's, wherever its input comes from.
            whole = Layer(label, view, sum(sizes[p] for p in fresh), on_input=isinstance(view, DenseView))
            placed += [(place[label], layer) for layer in _parts(whole, known.get(label))]

    folded = {p for owned in used.values() for p in owned} - counted
    taken = counted | folded
    layers = [layer for _, layer in sorted(placed, key=lambda pair: pair[0])]
    layers += matrix_layers(model, taken, without=program.idle)
    rest = [(name, p) for name, p in model.named_parameters() if name not in taken]
    return Inventory(
        tuple(layers),
        tuple(name for name in sizes if name in folded),
        tuple(Unmeasured(name, tuple(p.shape), _why(model, program, name, p)) for name, p in rest),
    )


def _parts(layer: Layer, held: Held | None) -> list[Layer]:
    """The layer, as its attention heads lie in it, or one layer for each matrix that its weight holds."""
    view = layer.view
    if held is None or not isinstance(view, DenseView) or view.weight.shape != held.whole.shape:
        return [layer]
    rows = len(view.weight)
    cuts = [(part, part.cut(view.weight)) for part in held.parts]
    return [
        Layer(
            part.name,
            DenseView(w, view.in_shape, part.heads),
            layer.parameters * len(w) // rows,
            layer.on_input,
        )
        for part, w in cuts
    ]


def _fresh(labels: list[str], used: dict[str, list[str]], counted: set[str]) -> list[str]:
    owned = [p for label in labels for p in used.get(label, [])]
    fresh = [p for p in dict.fromkeys(owned) if p not in counted]
    counted.update(fresh)
    return fresh


def _why(model: nn.Module, program: Program, name: str, parameter: Tensor) -> str:
    return (
        "the model's output does not depend on it" if name in program.idle else why_unmeasured(model, name, parameter)
    )

"""Weight layers found by their module classes, for models without a graph: only their matrices can be measured."""

from __future__ import annotations

from collections.abc import Container

from torch import nn

from brittle.operators.graph import Layer
from brittle.operators.matrices import Held, held_matrices
from brittle.operators.reasons import why_unmeasured
from brittle.operators.stored import StoredView
from brittle.results.layer import Unmeasured


def layers_by_class(model: nn.Module) -> tuple[tuple[Layer, ...], tuple[Unmeasured, ...]]:
    """Every known weight matrix (neurons x fan-in), and all other parameters with the reason.

    A weight that several modules share is one layer, under its first name; what only the others have of their own
    (an output layer's shift) is counted there too.
    """
    taken: set[str] = set()
    layers = matrix_layers(model, taken, ())
    rows = [
        Unmeasured(name, tuple(parameter.shape), why_unmeasured(model, name, parameter))
        for name, parameter in model.named_parameters()
        if name not in taken
    ]
    return layers, tuple(rows)


def matrix_layers(model: nn.Module, taken: set[str], without: Container[str]) -> tuple[Layer, ...]:
    """Layers of all known weights but those in `taken` or `without`; names of their parameters join `taken`.

    Names are those of `named_parameters()`, where a shared parameter has its first one.
    """
    canonical = _canonical_names(model)
    own: dict[str, list[tuple[str, str]]] = {}
    for used, name in canonical.items():
        own.setdefault(_owner(used), []).append((used, name))
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    first: dict[str, tuple[Held, list[str]]] = {}
    for held in held_matrices(model):
        names = [name for used, name in own.get(held.path, []) if held.owns(used)]
        weight = next((name for used, name in own.get(held.path, []) if _is_weight(held, used)), None)
        if weight is None or weight in without or (weight in taken and weight not in first):
            continue
        kept = first.setdefault(weight, (held, []))[1]
        kept += [name for name in names if name not in taken and name not in without]
        taken.update(names)
    return tuple(
        layer for held, names in first.values() for layer in layers_of(held, sum(sizes[name] for name in names))
    )


def layers_of(held: Held, parameters: int) -> list[Layer]:
    """One layer for each matrix that the weight holds; `parameters` are shared out by their rows."""
    cuts = [part.cut(held.whole) for part in held.parts]
    rows = sum(len(w) for w in cuts)
    return [
        Layer(part.name, StoredView(w, held.kind, part.heads), parameters * len(w) // rows, on_input=False)
        for part, w in zip(held.parts, cuts, strict=True)
    ]


def _is_weight(held: Held, parameter: str) -> bool:
    own = parameter.removeprefix(f"{held.path}." if held.path else "")
    return own == held.tensors[0] or own.startswith(f"parametrizations.{held.tensors[0]}.")


def _owner(parameter: str) -> str:
    """The module that a parameter belongs to; a parametrised one belongs to the module around its parametrisation."""
    return parameter.partition("parametrizations.")[0].rpartition(".")[0]


def _canonical_names(model: nn.Module) -> dict[str, str]:
    """Every name of every parameter, and the first name of the same one."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {name: names[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}

"""From a model to its graph and its weight layers: one front door, checked against the model itself."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.operators.conv import ConvView
from brittle.operators.fold import fold_scales, merge_pairs
from brittle.operators.graph import Affine, Graph, Layer, Node
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.program import Program
from brittle.operators.reader import read_program
from brittle.operators.view import LinearView
from brittle.results.layer import Unmeasured

# Largest accepted difference, relative to the largest logit, between the graph and the model in float64.
_AGREEMENT = 1e-9


@dataclass(frozen=True)
class Network:
    """A model as `brittle` sees it.

    `graph` is None where the model could not be traced; `why` then says so, and layers carry structure only.
    """

    graph: Graph | None
    layers: tuple[Layer, ...]
    unmeasured: tuple[Unmeasured, ...]
    why: str


def read_network(model: nn.Module, input_shape: tuple[int, ...] | None) -> Network:
    """Read a model that takes pixels (b, *input_shape) and returns logits (b, classes).

    The model itself is left as it was: a float64 copy in eval mode is read. With `input_shape` None, or where
    tracing fails, weight layers are found by their module classes and only their matrices are measured.

    Raises:
        ModelError: the model cannot be copied, or has no parameters to measure.
    """
    try:
        twin = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
    except Exception as error:
        raise ModelError(f"the model cannot be copied ({error}); pass a plain nn.Module") from error
    if not any(True for _ in twin.parameters()):
        raise ModelError("the model has no parameters: nothing to measure")
    if input_shape is None:
        return _by_class(twin, "the input size is not known")
    try:
        program = _quietly(twin, input_shape)
        nodes = fold_scales(merge_pairs(tuple(program.nodes), program.used))
    except Exception as error:  # torch.export fails in many ways; each is a reason, none is ours to hide
        return _by_class(twin, f"the model could not be traced: {_first_line(error)}")
    graph = Graph(nodes)
    if not graph.problems():
        distance = _disagreement(graph, twin, input_shape)
        if not distance <= _AGREEMENT:
            return _by_class(twin, f"the traced graph differs from the model by {distance:.1e}; please report this model")
    layers = _weight_layers(program, nodes, twin)
    return Network(graph, layers, _left_over(twin, program, layers), "; ".join(graph.problems()))


def _quietly(twin: nn.Module, input_shape: tuple[int, ...]) -> Program:
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return read_program(twin, input_shape)
    finally:
        logger.setLevel(level)


def _disagreement(graph: Graph, twin: nn.Module, input_shape: tuple[int, ...]) -> float:
    x = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        theirs, ours = twin(x), graph.evaluate(x)[-1]
    return float((theirs - ours).abs().max() / theirs.abs().max().clamp_min(1e-300))


def _weight_layers(program: Program, nodes: tuple[Node, ...], twin: nn.Module) -> tuple[Layer, ...]:
    """The graph's weight layers in order, then weights that only occur where the graph is opaque."""
    sizes = {name: p.numel() for name, p in twin.named_parameters()}
    graph_layers = [
        (n.name, n.op.view, True)
        for n in nodes
        if isinstance(n.op, Affine) and isinstance(n.op.view, DenseView | ConvView | FactorisedView)
    ]
    seen = {name for name, _, _ in graph_layers}
    merged = {part for n in nodes for part in program.used if n.name and part.startswith(n.name + ".") and n.name in seen}
    hidden = [(name, view, False) for name, view in program.weights if name not in seen and name not in merged]
    layers: list[Layer] = []
    counted: set[str] = set()
    for name, view, on_input in graph_layers + hidden:
        if any(layer.name == name for layer in layers):
            continue
        owned = [p for part in program.used if part == name or part.startswith(name + ".") for p in program.used[part]]
        fresh = [p for p in dict.fromkeys(owned) if p not in counted]
        counted.update(fresh)
        layers.append(Layer(name or "weight", view, sum(sizes.get(p, 0) for p in fresh), on_input))
    return tuple(layers)


def _left_over(twin: nn.Module, program: Program, layers: tuple[Layer, ...]) -> tuple[Unmeasured, ...]:
    names = [layer.name for layer in layers]
    measured = {
        p for part, owned in program.used.items() if any(part == n or part.startswith(n + ".") for n in names) for p in owned
    }
    folded = {p for owned in program.used.values() for p in owned} - measured
    rows = []
    for name, parameter in twin.named_parameters():
        if name in measured:
            continue
        if name in folded:
            continue  # gains and shifts that are in the graph: in the bounds, folded into a neighbour or kept as a scale
        why = "not a matrix (gain, shift or token)" if parameter.dim() < 2 else "used by an operation that is not covered"
        rows.append(Unmeasured(name, tuple(parameter.shape), why))
    return tuple(rows)


def _by_class(twin: nn.Module, why: str) -> Network:
    layers, rows = [], []
    owned: set[str] = set()
    for name, module in twin.named_modules():
        view = _plain_view(module)
        if view is not None:
            parameters = sum(p.numel() for p in module.parameters(recurse=False))
            layers.append(Layer(name or "weight", view, parameters, on_input=False))
            owned.update(f"{name}.{p}" if name else p for p, _ in module.named_parameters(recurse=False))
    for name, parameter in twin.named_parameters():
        if name not in owned:
            rows.append(Unmeasured(name, tuple(parameter.shape), "its module is not a linear layer or convolution"))
    return Network(None, tuple(layers), tuple(rows), why)


def _plain_view(module: nn.Module) -> LinearView | None:
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and isinstance(weight, Tensor):
        return DenseView(weight.detach().flatten(1), (weight[0].numel(),))
    return None


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:160]

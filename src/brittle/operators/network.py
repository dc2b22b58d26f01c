"""From a model to its graph and its weight layers: one front door, checked against the model itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.operators.by_class import layers_by_class
from brittle.operators.fold import drop_unread, fold_scales, merge_pairs, number_repeats
from brittle.operators.graph import Graph, Layer
from brittle.operators.layer_list import take_inventory
from brittle.operators.reader import read_program
from brittle.operators.twin import computes_weights, readable_copy
from brittle.results.layer import Unmeasured

# Largest accepted difference between the graph and the model in float64, relative to the largest logit, and relative
# to the largest value inside (logits may cancel).
_AGREEMENT = 1e-9
_AGREEMENT_INSIDE = 1e-13
# Largest accepted change of a sample's logits with its batch: other batch sizes round differently.
_ALONE = 1e-6
_NOISE = 1e-12
_SAMPLES = 3


@dataclass(frozen=True)
class Network:
    """A model as `brittle` sees it.

    `graph` is None where the model could not be traced; `why` then says so, and layers carry structure only. Every
    parameter is counted in one of the `layers`, or named in `folded` (gains and shifts that the graph holds: folded
    into a neighbour or steps of their own) or in `unmeasured`.
    """

    graph: Graph | None
    layers: tuple[Layer, ...]
    unmeasured: tuple[Unmeasured, ...]
    why: str
    folded: tuple[str, ...] = ()


def read_network(model: nn.Module, input_shape: tuple[int, ...] | None) -> Network:
    """Read a model that takes pixels (b, *input_shape) and returns logits (b, classes).

    The model itself is left as it was: a float64 copy in eval mode is read. With `input_shape` None, or where
    tracing fails, weight layers are found by their module classes and only their matrices are measured; these layers
    look at the model's own memory where they can, so measure them before the model changes.

    Raises:
        ModelError: the model cannot be copied, has no parameters to measure, or has weights that are not finite.
    """
    if not any(True for _ in model.parameters()):
        raise ModelError("the model has no parameters: nothing to measure")
    if input_shape is None:
        plain = readable_copy(model) if computes_weights(model) else model
        return _by_class(plain, "the input size is not known")
    twin = readable_copy(model)
    try:
        with _quiet():
            program = read_program(twin, input_shape)
        nodes = fold_scales(merge_pairs(drop_unread(tuple(program.nodes)), program.used))
        graph = Graph(number_repeats(nodes))
        doubt = "" if graph.problems() else _doubt(graph, twin, input_shape)
    except Exception as error:  # torch.export fails in many ways; each is a reason, none is ours to hide
        return _by_class(twin, f"the model could not be traced: {_first_line(error)}")
    if doubt:
        return _by_class(twin, doubt)
    found = take_inventory(twin, program, nodes)
    return Network(graph, found.layers, found.unmeasured, "; ".join(graph.problems()), found.folded)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch.export's warnings from the user while it runs: they speak about a copy that nobody keeps."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _doubt(graph: Graph, twin: nn.Module, input_shape: tuple[int, ...]) -> str:
    """Why the graph may not be trusted, by evaluating it and the model on random pixels; "" where they agree."""
    x = torch.rand(_SAMPLES, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        theirs, alone = twin(x), twin(x[:1])
    if not bool(torch.isfinite(theirs).all()):
        return "the model's outputs on random pixels are not all finite: check its weights and its normalisation"
    largest = float(theirs.abs().max())
    if not _distance(theirs[:1], alone) <= _ALONE * largest + _NOISE:
        return "a sample's logits change with the other samples of its batch"
    values = graph.evaluate(x)
    inside = max(float(v.abs().max()) for v in values if v.numel())
    allowed = _AGREEMENT * largest + _AGREEMENT_INSIDE * inside
    apart = _distance(theirs, values[-1])
    if not apart <= allowed:
        return (
            f"the traced graph differs from the model by {apart:.1e} (allowed {allowed:.1e}); please report this model"
        )
    return ""


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.shape == b.shape else float("inf")


def _by_class(twin: nn.Module, why: str) -> Network:
    layers, rows = layers_by_class(twin)
    return Network(None, layers, rows, why)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:160]

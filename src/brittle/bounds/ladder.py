"""The ladder: all bounds on one Lipschitz constant, from instructive to tight, and the class pairs' constants."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import perf_counter

import torch
from torch import Tensor

from brittle.bounds.linear_forms import Propagation, cost, propagate
from brittle.bounds.pairs import loop_pairs, product_pairs
from brittle.bounds.product import node_norms, product_constants
from brittle.operators.graph import Graph
from brittle.operators.network import Network
from brittle.results.bounds import Ladder, Rung
from brittle.results.layer import LayerStructure, NormBound

# What the loop rung may cost: matrix entries held at once (1.6 GB in float64) and multiply-adds.
_MAX_ENTRIES = 2e8
_MAX_WORK = 4e11

PRODUCT_ASSUMES = "every layer reaches its norm on the same input, and every activation has its steepest slope"
LOOP_ASSUMES = {
    "l2": "activations split into a linear part, kept exactly, and a remainder bounded by norms (LipLT)",
    "linf": "activations split into a linear part, kept exactly, and a remainder bounded coordinate by coordinate",
}
LOOP_NAMES = {"l2": "liplt", "linf": "loop"}
JACOBIAN_ASSUMES = "the largest Jacobian norm met at the audited inputs"
TOO_LARGE = "the layers are too large for its matrices"
BEYOND = "the constant is beyond what float64 can hold"


@dataclass(frozen=True)
class Constants:
    """A network's constants for one norm: the ladder for people, and L_jk for certificates.

    `pairs` (K, K) is the elementwise minimum over all sound rungs, None where no global constant exists.
    """

    norm: str
    ladder: Ladder
    pairs: Tensor | None


def lipschitz_constants(
    network: Network, layers: tuple[LayerStructure, ...], norms: tuple[str, ...], jacobians: dict[str, float]
) -> dict[str, Constants]:
    """Constants from pixels to logits for each norm.

    Args:
        network: as read by `read_network`.
        layers: rows of the layer table, whose norms are reused.
        norms: "linf", "l2".
        jacobians: the largest Jacobian norm found on data, the lower rung; may lack a norm.
    """
    graph = network.graph
    if graph is None or graph.problems():
        return {norm: _none(norm, network.why, jacobians) for norm in norms}
    start = perf_counter()
    entries, work = cost(graph)
    forms = None
    if entries <= _MAX_ENTRIES and work <= _MAX_WORK:
        forms = propagate(graph, node_norms(graph, "l2", _known(layers, "l2")))
    seconds = perf_counter() - start
    return {norm: _constants(graph, layers, norm, forms, seconds, jacobians) for norm in norms}


def _known(layers: tuple[LayerStructure, ...], norm: str) -> dict[str, NormBound]:
    return {layer.name: layer.norms[norm] for layer in layers if layer.on_input and norm in layer.norms}


def _constants(
    graph: Graph,
    layers: tuple[LayerStructure, ...],
    norm: str,
    forms: Propagation | None,
    seconds: float,
    jacobians: dict[str, float],
) -> Constants:
    start = perf_counter()
    norms = node_norms(graph, norm, _known(layers, norm))
    product = product_constants(graph, norm, norms)[-1]
    pairs = product_pairs(graph, norm, norms)
    rungs = [_upper("product", product, perf_counter() - start, PRODUCT_ASSUMES)]
    if forms is None:
        rungs.append(Rung(LOOP_NAMES[norm], None, "upper_bound", 0.0, TOO_LARGE))
    else:
        value = forms.l2 if norm == "l2" else float(forms.linf.max())
        rungs.append(_upper(LOOP_NAMES[norm], min(value, product), seconds, LOOP_ASSUMES[norm]))
        pairs = torch.minimum(pairs, loop_pairs(forms, norm))
    best = min((r.value for r in rungs if r.value is not None), default=None)
    return Constants(norm, Ladder((*rungs, *_lower(norm, jacobians)), best), pairs if best is not None else None)


def _upper(rung: str, value: float, seconds: float, assumes: str) -> Rung:
    """A rung with its value, or with the reason where the value is beyond float64."""
    if not value < inf:
        return Rung(rung, None, "upper_bound", seconds, BEYOND)
    return Rung(rung, value, "upper_bound", seconds, assumes)


def _lower(norm: str, jacobians: dict[str, float]) -> tuple[Rung, ...]:
    if norm not in jacobians:
        return ()
    return (Rung("jacobian", jacobians[norm], "lower_bound", 0.0, JACOBIAN_ASSUMES),)


def _none(norm: str, why: str, jacobians: dict[str, float]) -> Constants:
    rungs = (Rung("product", None, "upper_bound", 0.0, why), *_lower(norm, jacobians))
    return Constants(norm, Ladder(rungs, None), None)

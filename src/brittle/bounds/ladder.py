"""The ladder: all bounds on one Lipschitz constant, from instructive to tight, and the class pairs' constants."""

from __future__ import annotations

from dataclasses import dataclass
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

# What the loop rung may cost: entries of its largest matrix (1.6 GB in float64) and multiply-adds.
_MAX_ENTRIES = 2e8
_MAX_WORK = 4e11

PRODUCT_ASSUMES = "every layer reaches its norm on the same input, and every activation has its steepest slope"
LOOP_ASSUMES = {
    "l2": "activations split into a linear part, kept exactly, and a remainder bounded by norms (LipLT)",
    "linf": "activations split into a linear part, kept exactly, and a remainder bounded coordinate by coordinate",
}
LOOP_NAMES = {"l2": "liplt", "linf": "loop"}


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
    forms = propagate(graph) if entries <= _MAX_ENTRIES and work <= _MAX_WORK else None
    seconds = perf_counter() - start
    return {norm: _constants(graph, layers, norm, forms, seconds, jacobians) for norm in norms}


def _constants(
    graph: Graph,
    layers: tuple[LayerStructure, ...],
    norm: str,
    forms: Propagation | None,
    seconds: float,
    jacobians: dict[str, float],
) -> Constants:
    known: dict[str, NormBound] = {layer.name: layer.norms[norm] for layer in layers if layer.on_input}
    start = perf_counter()
    norms = node_norms(graph, norm, known)
    product = product_constants(graph, norm, norms)[-1]
    pairs = product_pairs(graph, norm, norms)
    rungs = [Rung("product", product, "upper_bound", perf_counter() - start, PRODUCT_ASSUMES)]
    if forms is None:
        rungs.append(Rung(LOOP_NAMES[norm], None, "upper_bound", 0.0, "the layers are too large for its matrices"))
    else:
        value = forms.l2 if norm == "l2" else float(forms.linf.max())
        rungs.append(Rung(LOOP_NAMES[norm], min(value, product), "upper_bound", seconds, LOOP_ASSUMES[norm]))
        pairs = torch.minimum(pairs, loop_pairs(forms, norm))
    best = min(r.value for r in rungs if r.value is not None)
    return Constants(norm, Ladder((*rungs, *_lower(norm, jacobians)), best), pairs)


def _lower(norm: str, jacobians: dict[str, float]) -> tuple[Rung, ...]:
    if norm not in jacobians:
        return ()
    return (Rung("jacobian", jacobians[norm], "lower_bound", 0.0, "the largest Jacobian norm met on the audited inputs"),)


def _none(norm: str, why: str, jacobians: dict[str, float]) -> Constants:
    rungs = (Rung("product", None, "upper_bound", 0.0, why), *_lower(norm, jacobians))
    return Constants(norm, Ladder(rungs, None), None)

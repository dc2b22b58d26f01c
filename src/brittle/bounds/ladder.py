"""The ladder: all bounds on one Lipschitz constant, from instructive to tight, and the class pairs' constants."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from time import perf_counter

import torch
from torch import Tensor

from brittle.bounds.chain import encoder_chain
from brittle.bounds.encoder import encoder_bounds
from brittle.bounds.linear_forms import Propagation, cost, propagate
from brittle.bounds.pairs import loop_pairs, product_pairs
from brittle.bounds.product import node_norms, product_constants
from brittle.bounds.tight import TIGHTNESS, Tightness, TightRung, tight_rungs
from brittle.operators.graph import Graph
from brittle.operators.linear import DenseView
from brittle.operators.network import Network
from brittle.operators.norms import OPERATOR_NORMS
from brittle.results.bounds import Ladder, Rung
from brittle.results.encoder import EncoderBound
from brittle.results.layer import LayerStructure, NormBound

# What the loop rung may cost: matrix entries held at once (1.6 GB in float64) and multiply-adds.
_MAX_ENTRIES = 2e8
_MAX_WORK = 4e11

ASSUMES = {
    "product": "every layer reaches its norm on the same input, and every activation has its steepest slope",
    "alignment": "neighbouring layers align no better than proved, pair by pair (Theorem 3.2 with exact norms)",
    "liplt": "activations split into a linear part, kept exactly, and a remainder bounded by norms (LipLT)",
    "loop": "activations split into a linear part, kept exactly, and a remainder bounded coordinate by coordinate",
    "lipsdp": "each neuron's slope lies in its interval, all weighted at once (LipSDP-Neuron, feasible multipliers)",
    "lipsdp-weighted": "as LipSDP, with the l_inf ball inside a weighted ellipsoid chosen for each logit",
    "jacobian": "the largest Jacobian norm met on the audited inputs",
}
_TOO_LARGE = "the layers are too large for its matrices"
_BEYOND = "the product of norms is beyond what float64 can hold"
_LOOP = {"l2": "liplt", "linf": "loop"}
_TIGHT = {"l2": "lipsdp", "linf": "lipsdp-weighted"}


@dataclass(frozen=True)
class Constants:
    """A network's constants for one norm: the ladder for people, and L_jk for certificates.

    `pairs` (K, K) is the elementwise minimum over all sound rungs, None where no global constant exists; `encoder` is
    Theorem 3.2 with exact norms and with Theorem 3.1's bounds.
    """

    norm: str
    ladder: Ladder
    pairs: Tensor | None
    encoder: tuple[EncoderBound, ...] = ()


def lipschitz_constants(
    network: Network,
    layers: tuple[LayerStructure, ...],
    norms: tuple[str, ...],
    jacobians: dict[str, float],
    tightness: Tightness = TIGHTNESS["standard"],
) -> dict[str, Constants]:
    """Constants from pixels to logits for each norm.

    Args:
        network: as read by `read_network`.
        layers: rows of the layer table, whose norms are reused.
        norms: "linf", "l2".
        jacobians: the largest Jacobian norm found on data, the lower rung; may lack a norm.
        tightness: how long the last rungs are improved.
    """
    graph = network.graph
    if graph is None or graph.problems():
        return {norm: _none(norm, network.why, jacobians) for norm in norms}
    products = [product_constants(graph, norm, node_norms(graph, norm, _known(layers, norm)))[-1] for norm in norms]
    if not all(map(isfinite, products)):
        return {norm: _none(norm, _BEYOND, jacobians) for norm in norms}
    start = perf_counter()
    entries, work = cost(graph)
    forms = None
    if entries <= _MAX_ENTRIES and work <= _MAX_WORK:
        forms = propagate(graph, node_norms(graph, "l2", _known(layers, "l2")))
    seconds = perf_counter() - start
    tight = tight_rungs(graph, norms, tightness)
    return {norm: _constants(graph, layers, norm, forms, seconds, tight[norm], jacobians) for norm in norms}


def _known(layers: tuple[LayerStructure, ...], norm: str) -> dict[str, NormBound]:
    """Norms of the layer table that are of the operators on their real inputs."""
    return {layer.name: layer.norms[norm] for layer in layers if layer.on_input}


def _constants(
    graph: Graph,
    layers: tuple[LayerStructure, ...],
    norm: str,
    forms: Propagation | None,
    seconds: float,
    tight: TightRung,
    jacobians: dict[str, float],
) -> Constants:
    known = _known(layers, norm)
    start = perf_counter()
    norms = node_norms(graph, norm, known)
    product = product_constants(graph, norm, norms)[-1]
    pairs = product_pairs(graph, norm, norms)
    rungs = [_rung("product", product, perf_counter() - start)]
    start = perf_counter()
    encoder = encoder_bounds(graph, norm, known=known)
    rungs.append(_aligned(graph, encoder[0], norm, product, start))
    if forms is None:
        rungs.append(_rung(_LOOP[norm], None, 0.0, _TOO_LARGE))
    else:
        loop = forms.l2 if norm == "l2" else float(forms.linf.max())
        rungs.append(_rung(_LOOP[norm], min(loop, product), seconds))
        pairs = torch.minimum(pairs, loop_pairs(forms, norm))
    rungs.append(_rung(_TIGHT[norm], tight.value, tight.seconds, tight.why))
    if tight.pairs is not None:
        pairs = torch.minimum(pairs, tight.pairs)
    best = min((rung.value for rung in rungs if rung.value is not None), default=None)
    return Constants(norm, Ladder((*rungs, *_lower(norm, jacobians)), best), pairs, encoder)


def _aligned(graph: Graph, encoder: EncoderBound, norm: str, product: float, start: float) -> Rung:
    head = encoder_chain(graph).head
    if encoder.value is None or head is None:
        return _rung("alignment", None, 0.0, encoder.why)
    value = encoder.value * OPERATOR_NORMS[norm](DenseView(head)).value * (1 + 2.0**-50)
    return _rung("alignment", min(value, product), perf_counter() - start)


def _rung(name: str, value: float | None, seconds: float, why: str = "") -> Rung:
    """An upper bound; a value that is missing or not finite has its reason in place of what it assumes."""
    if value is None or not isfinite(value):
        return Rung(name, None, "upper_bound", seconds, why or "rounding left no proof")
    return Rung(name, value, "upper_bound", seconds, ASSUMES[name])


def _lower(norm: str, jacobians: dict[str, float]) -> tuple[Rung, ...]:
    return (Rung("jacobian", jacobians[norm], "lower_bound", 0.0, ASSUMES["jacobian"]),) if norm in jacobians else ()


def _none(norm: str, why: str, jacobians: dict[str, float]) -> Constants:
    rungs = (Rung("product", None, "upper_bound", 0.0, why), *_lower(norm, jacobians))
    return Constants(norm, Ladder(rungs, None), None)

"""The paper's bounds on the network, in logarithms that add up: structure, scale, alignment."""

from __future__ import annotations

from math import isfinite, log
from typing import Final

from brittle.bounds.chain import encoder_chain
from brittle.bounds.encoder import encoder_bounds, risk_slope
from brittle.bounds.product import node_norms, product_constants
from brittle.operators.graph import Graph
from brittle.results.encoder import EncoderBound
from brittle.studies.measures.scene import Reading, Scene

_NORMS: Final = ("linf", "l2")


def bound(scene: Scene) -> Reading:
    """Natural logarithms, for each norm p of "linf" and "l2"; a network without a bound lacks the names.

    * "bound.p.log_product": product of all layers' norms, pixels to logits; of chains and residual networks.
    * "bound.p.log_lhat": L_hat of Theorem 3.2 with exact norms, pixels to the head's input; of chains. It is the sum of
      "bound.p.log_structure", "bound.p.log_scale" and "bound.p.log_alignment".
    * "bound.p.log_theorem": L_hat with Theorem 3.1's bounds in place of norms: the paper's own.
    * "bound.p.log_slope": of Corollary 3.3, `L_hat max ||c_j - c_k||_*`, nats per unit of radius.
    """
    graph = scene.network.graph
    if graph is None or graph.problems():
        return Reading({})
    numbers: dict[str, float] = {}
    for norm in _NORMS:
        product = product_constants(graph, norm, node_norms(graph, norm, {}))[-1]
        if product > 0 and isfinite(product):
            numbers[f"bound.{norm}.log_product"] = log(product)
        exact, theorem = encoder_bounds(graph, norm)
        numbers.update(_split(graph, norm, exact))
        if theorem.log_value is not None:
            numbers[f"bound.{norm}.log_theorem"] = theorem.log_value
    return Reading(numbers)


def _split(graph: Graph, norm: str, exact: EncoderBound) -> dict[str, float]:
    if exact.log_value is None:
        return {}
    numbers = {
        f"bound.{norm}.log_lhat": exact.log_value,
        f"bound.{norm}.log_structure": sum(term.structure for term in exact.terms),
        f"bound.{norm}.log_scale": sum(term.scale for term in exact.terms),
        f"bound.{norm}.log_alignment": sum(term.alignment for term in exact.terms),
    }
    head = encoder_chain(graph).head
    slope = None if head is None else risk_slope(exact, head)
    if slope is not None and slope > 0:
        numbers[f"bound.{norm}.log_slope"] = log(slope)
    return numbers

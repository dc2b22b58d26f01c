"""Theorem 3.2: the encoder's constant `L_hat = prod_l B_l prod_{l in S} A(l)`, and its logarithm term by term.

B_l is a layer's norm (exact, or Theorem 3.1's bound on it), A(l) the alignment of neighbours, S the matching that makes
the product smallest. For each weight layer, with t the rows' l_1 norms (l_inf) or the singular values (l_2) of W and k
a fixed share of its length,

    log B_l = log((1 - eps_k) / k) - log(1 - beta_mean_k) + shape + log ||W||_F + geometry,

exact for every k, because the first two make up `log(t_(1) / ||t||_1)`. Source: Barsbey et al., ICLR 2026
(arXiv 2507.17725), Theorems 3.1 and 3.2; the exact split is ours. Constants are l_p to l_p, pixels to the head's input.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import log

from torch import Tensor

from brittle.bounds.alignment import alignment
from brittle.bounds.chain import Chain, Segment, encoder_chain, window_overlap
from brittle.bounds.matching import smallest_matching
from brittle.bounds.product import node_norms
from brittle.compressibility.decomposition import theorem31
from brittle.compressibility.rank import singular_values
from brittle.compressibility.residual import beta_mean, count, residual
from brittle.operators.conv import ConvView
from brittle.operators.graph import Graph
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.view import LinearView
from brittle.results.encoder import Alignment, EncoderBound, EncoderTerm, Kind
from brittle.results.layer import NormBound

KINDS: tuple[Kind, Kind] = ("exact-norms", "theorem-3.1")
_WEIGHTS = (DenseView, ConvView, FactorisedView)


def encoder_bounds(
    graph: Graph, norm: str, *, k_fraction: float = 0.1, known: dict[str, NormBound] | None = None
) -> tuple[EncoderBound, EncoderBound]:
    """L_hat with exact norms, and with Theorem 3.1's bounds on them, for chains of affine maps and activations.

    Residual networks get no bound, and `why` says so. Pairs do not cross a pooling or two activations; pairs too large
    to write out count as fully aligned and are named in `why`.

    Args:
        graph: a network from pixels to logits with a linear head.
        norm: "linf" or "l2".
        k_fraction: the split's k is `ceil(k_fraction * length)`; L_hat does not depend on it.
        known: norms of named layers that were measured already, on their real input.

    Raises:
        UsageError: `k_fraction` outside (0, 1], or an unknown norm.
    """
    chain = encoder_chain(graph)
    if not chain.segments:
        return _none(norm, chain.why)
    norms = node_norms(graph, norm, known or {})
    nothing = _dead(chain, norms)
    if nothing:
        return _none(norm, nothing)
    pairs, too_large = _pairs(chain, norm)
    dead = [p for p in pairs if p is not None and p.value == 0.0]
    if dead:
        return _none(
            norm, f"nothing passes from {dead[0].inner} to {dead[0].outer}: the encoder is constant, L_hat is 0"
        )
    chosen, _ = smallest_matching([None if p is None else log(p.value) for p in pairs])
    kept = tuple(p for i in chosen if (p := pairs[i]) is not None)
    gains = {i + 1: log(p.value) for i in chosen if (p := pairs[i]) is not None}
    why = f"taken as fully aligned, too large to write out: {', '.join(too_large)}" if too_large else ""
    bounds = []
    for kind in KINDS:
        terms: list[EncoderTerm] = []
        for index, segment in enumerate(chain.segments):
            terms += _terms(segment, norm, kind, norms, k_fraction, gains.get(index, 0.0))
        bounds.append(EncoderBound(norm, kind, sum(t.total for t in terms), tuple(terms), kept, why))
    return bounds[0], bounds[1]


def risk_slope(bound: EncoderBound, head: Tensor) -> float | None:
    """`L_hat max_{j != k} ||c_j - c_k||_*` for a head C (classes, width): nats per unit of radius (Corollary 3.3).

    `||.||_*` is l_1 for l_inf and l_2 for l_2. None where there is no bound.
    """
    if bound.value is None:
        return None
    c = head.double()
    order = 1.0 if bound.norm == "linf" else 2.0
    spread = float((c[:, None, :] - c[None, :, :]).norm(p=order, dim=2).max())
    return bound.value * spread * (1 + 1e-9)


def _none(norm: str, why: str) -> tuple[EncoderBound, EncoderBound]:
    first, second = (EncoderBound(norm, kind, None, (), (), why) for kind in KINDS)
    return first, second


def _dead(chain: Chain, norms: dict[int, NormBound]) -> str:
    """Why L_hat is 0 without any alignment: a zero layer or a constant activation; its logarithm is undefined."""
    for segment in chain.segments:
        for index, name, _ in segment.maps:
            if norms[index].value == 0.0:
                return f"layer {name or index} is zero: the encoder is constant, L_hat is 0 and has no logarithm"
        if min(segment.gate.factors.values()) == 0.0:
            return "an activation is constant: L_hat is 0 and has no logarithm"
    return ""


def _label(segment: Segment) -> str:
    """The segment's weight layers."""
    weights = [name for _, name, view in segment.maps if isinstance(view, _WEIGHTS)]
    return " ".join(weights or [name for _, name, _ in segment.maps])


def _pairs(chain: Chain, norm: str) -> tuple[list[Alignment | None], list[str]]:
    """The alignment of every two neighbouring segments, None where a pair is not allowed; and those too large."""
    found: list[Alignment | None] = []
    too_large = []
    for inner, outer in pairwise(chain.segments):
        names = (_label(outer), _label(inner))
        if inner.gate.slopes is None or not inner.maps:
            found.append(None)
        elif not inner.affordable or not outer.affordable:
            found.append(None)
            too_large.append(f"{names[1]} - {names[0]}")
        elif not (bool(inner.matrix.any()) and bool(outer.matrix.any())):
            found.append(Alignment(*names, norm, 0.0, "exact", 0.0))  # maps in a row that cancel
        else:
            found.append(alignment(outer.matrix, inner.matrix, norm, slopes=inner.gate.slopes, names=names))
    return found, too_large


def _terms(
    segment: Segment, norm: str, kind: Kind, norms: dict[int, NormBound], k_fraction: float, gain: float
) -> list[EncoderTerm]:
    """A term for every map; the gate after the segment joins the last one's geometry, the pair's gain too."""
    gate = log(segment.gate.factors[norm])
    if not segment.maps:  # the network starts with an activation
        return [EncoderTerm("input", norm, 0.0, 0.0, 0.0, 0.0, gate, gain)]
    terms = [_SPLIT[kind](name, view, norm, norms[index].value, k_fraction) for index, name, view in segment.maps]
    terms[-1] = replace(terms[-1], geometry=terms[-1].geometry + gate, alignment=gain)
    return terms


def _exact(name: str, view: LinearView, norm: str, value: float, k_fraction: float) -> EncoderTerm:
    if not isinstance(view, _WEIGHTS):
        return _fixed(name, norm, value)
    matrix = view.matrix()
    t = _magnitudes(matrix, norm)
    frobenius = _frobenius(matrix)
    compressibility, spread = _dominance(t, k_fraction)
    shape = log(float((t / t.max()).sum())) + log(float(t.max())) - log(frobenius)
    scale = log(frobenius)
    left = log(value) - (compressibility + spread + shape + scale)
    if not _windowed(view):  # T is W: what is left are the norm's rounding margins
        return EncoderTerm(name, norm, compressibility, spread, shape + left, scale, 0.0, 0.0)
    geometry = left  # from the structure matrix to the map on its padded input
    return EncoderTerm(name, norm, compressibility, spread, shape, scale, geometry, 0.0)


def _theorem31(name: str, view: LinearView, norm: str, value: float, k_fraction: float) -> EncoderTerm:
    if not isinstance(view, _WEIGHTS):
        return _fixed(name, norm, value)
    matrix = view.matrix()
    sigma = singular_values(matrix)
    t = sigma if norm == "l2" else _magnitudes(matrix, norm)
    compressibility, spread = _dominance(t, k_fraction)
    scale = log(_frobenius(matrix))
    geometry = 0.5 * log(window_overlap(view)) if norm == "l2" else 0.0
    # Where theorem and norm agree, rounding could put the first below the second: the norm's upper side is kept.
    bound = max(log(theorem31(matrix, sigma)[norm].upper) + geometry, log(value))
    shape = bound - geometry - (compressibility + spread + scale)
    return EncoderTerm(name, norm, compressibility, spread, shape, scale, geometry, 0.0)


_SPLIT = {"exact-norms": _exact, "theorem-3.1": _theorem31}


def _windowed(view: LinearView) -> bool:
    return isinstance(view.product if isinstance(view, FactorisedView) else view, ConvView)


def _fixed(name: str, norm: str, value: float) -> EncoderTerm:
    """A map without weights of its own (normalisation, average pooling): all geometry."""
    return EncoderTerm(name or "fixed map", norm, 0.0, 0.0, 0.0, 0.0, log(value), 0.0)


def _dominance(t: Tensor, k_fraction: float) -> tuple[float, float]:
    k = count(k_fraction, len(t))
    return log(1 - residual(t, k)) - log(k), -log(1 - beta_mean(t, k))


def _magnitudes(matrix: Tensor, norm: str) -> Tensor:
    return singular_values(matrix) if norm == "l2" else matrix.abs().sum(1)


def _frobenius(matrix: Tensor) -> float:
    largest = float(matrix.abs().max())
    return float((matrix / largest).norm()) * largest

"""Every node of a graph as a linear form in the input and in the non-linear remainders, with the loop bounds.

An activation with slopes in [low, high] is `phi(y) = c y + r psi(y)`, `c = (low + high) / 2`, `r = (high - low) / 2`,
psi 1-Lipschitz in every coordinate. So a node's change is

    dv = M_0 dx + sum_j M_j dpsi_j,    |dpsi_j| <= |dy_j| coordinate by coordinate,

with constant matrices M. Taking norms gives LipLT (Fazlyab et al. 2023) for l_2, taking absolute values gives the
componentwise loop bound for l_inf (theory section 4); sums (residual branches) add matrices, a max pooling starts a
new remainder. Slopes need not lie in [0, 1]: c and r absorb them. Rounding: see `form`.

Legend: n a node's coordinates, m a remainder's coordinates; matrices are (n, m), float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan, sqrt

import torch
from torch import Tensor

from brittle.bounds.form import Form, after, identity, plus, times
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Reshape, Source, Sum
from brittle.operators.rounding import above, gamma
from brittle.operators.row_sums import mixed_norm
from brittle.operators.view import size
from brittle.results.layer import NormBound


@dataclass(frozen=True)
class Remainder:
    """The input, or one activation's non-linear part: how far each unit of perturbation can move it.

    `l2` bounds ||dpsi||_2 for ||dx||_2 <= 1, `linf` (m,) bounds |dpsi| for ||dx||_inf <= 1.
    """

    l2: float
    linf: Tensor


@dataclass(frozen=True)
class Propagation:
    """The output's loop bounds (`l2` a number, `linf` one for each logit) and its linear form.

    `output[j]` belongs to `remainders[j]`; remainder 0 is the input.
    """

    l2: float
    linf: Tensor
    output: dict[int, Form]
    remainders: tuple[Remainder, ...]


def cost(graph: Graph) -> tuple[float, float]:
    """A forecast before any work: the most matrix entries that one step holds, and multiply-adds of the whole."""
    entries, work = 0.0, 0.0
    sources: list[set[int]] = []  # for each node the nodes whose remainders its linear form has
    for index, node in enumerate(graph.nodes):
        n = size(node.shape)
        known = set().union(*(sources[i] for i in node.inputs)) if node.inputs else {0}
        columns = [float(size(graph.nodes[s].shape)) for s in known]
        if isinstance(node.op, Affine):
            fan_in = size(node.op.view.in_shape)
            entries = max(entries, sum((n + fan_in) * m for m in columns))
            work += sum(m * n * min(fan_in, node.op.view.terms) for m in columns)
        if isinstance(node.op, Sum):
            entries = max(entries, 2 * sum(n * m for m in columns))
        if isinstance(node.op, Activation | MaxPool):
            work += sum(min(n, m) ** 2 * (max(n, m) + 4 * min(n, m)) for m in columns)
            known = {index} if isinstance(node.op, MaxPool) else {*known, index}
        sources.append(known)
    return entries, work


def propagate(graph: Graph, spectral: Mapping[int, NormBound] | None = None) -> Propagation:
    """The loop bounds of a graph's output.

    Args:
        graph: without opaque nodes.
        spectral: l_2 operator norms of affine nodes by index, where they are known; they only keep the rounding
            margins small, so a coarse bound serves for the others.

    Raises:
        ValueError: the graph has an opaque node.
    """
    spectral = spectral or {}
    remainders: list[Remainder] = []
    forms: list[dict[int, Form]] = []
    bounds: dict[int, tuple[float, Tensor]] = {}  # only of nodes where a remainder starts
    starts = {i for node in graph.nodes if isinstance(node.op, Activation | MaxPool) for i in node.inputs}
    last_use = [max(readers, default=len(graph.nodes)) for readers in graph.consumers()]
    for index, node in enumerate(graph.nodes):
        inputs = [forms[i] for i in node.inputs]
        match node.op:
            case Source():
                form = {len(remainders): identity()}
                remainders.append(Remainder(1.0, torch.ones(size(node.shape), dtype=torch.float64)))
            case Affine(view, _):
                norm = spectral[index].value if index in spectral else mixed_norm(view)
                form = {s: after(view, f, norm) for s, f in inputs[0].items()}
            case Sum(signs):
                form = _sum(signs, inputs)
            case Reshape():
                form = inputs[0]
            case Activation():
                form = _activated(node.op, inputs[0], len(remainders))
                remainders.append(Remainder(*bounds[node.inputs[0]]))
            case MaxPool():
                form = {len(remainders): identity()}
                remainders.append(_pooled(node.op, graph.nodes[node.inputs[0]], *bounds[node.inputs[0]]))
            case _:
                raise ValueError(f"node {node.name!r} is opaque: a loop bound needs a graph without problems")
        forms.append(form)
        if index in starts:
            bounds[index] = _bounds(form, remainders)
        for i in node.inputs:  # matrices nobody reads again are freed
            if last_use[i] <= index:
                forms[i] = {}
    length, rows = _bounds(forms[-1], remainders)
    return Propagation(length, rows, forms[-1], tuple(remainders))


def _sum(signs: tuple[float, ...], inputs: list[dict[int, Form]]) -> dict[int, Form]:
    out: dict[int, Form] = {}
    for sign, forms in zip(signs, inputs, strict=True):
        for source, form in forms.items():
            term = form if sign == 1.0 else times(sign, form)
            out[source] = term if source not in out else plus(out[source], term)
    return out


def _activated(op: Activation, before: dict[int, Form], new: int) -> dict[int, Form]:
    low, high = op.slopes.low, op.slopes.high
    center = (low + high) / 2
    # The radius covers both ends whatever rounding did to the center.
    radius = above(max(high - center, center - low), 1)
    form = {s: times(center, f) for s, f in before.items()} if center else {}
    form[new] = identity(radius)
    return form


def _pooled(op: MaxPool, before: Node, length: float, rows: Tensor) -> Remainder:
    # |max a - max b| <= max |a - b| over a window, and a coordinate is in at most `overlap` windows
    pooled = op.apply(rows.view(1, *before.shape)).flatten().clamp_min(0.0)
    return Remainder(above(length * sqrt(op.overlap(before.shape)), 2), pooled)


def _bounds(form: dict[int, Form], remainders: list[Remainder]) -> tuple[float, Tensor]:
    terms = len(form) + 2
    l2 = above(sum(f.spectral() * remainders[s].l2 for s, f in form.items()), terms)
    rows = torch.stack([f.row_sums(remainders[s].linf) for s, f in form.items()]).sum(0)
    return inf if isnan(l2) else l2, torch.nan_to_num(rows * (1 + 2 * gamma(terms)), nan=inf, posinf=inf)

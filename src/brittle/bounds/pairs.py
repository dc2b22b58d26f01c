"""Lipschitz constants of logit differences `z_j - z_k`, one for each pair of classes: what certificates divide by.

Legend: K classes, d features of the head, p pairs; tables are (K, K), symmetric, zero on the diagonal, float64, in
logits per unit of perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, sqrt

import torch
from torch import Tensor

from brittle.bounds.form import frobenius
from brittle.bounds.linear_forms import Propagation
from brittle.bounds.product import product_constants
from brittle.operators.graph import Affine, Graph, Reshape
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.rounding import above, gamma
from brittle.results.layer import NormBound

# Above this many classes the loop bound takes `l_j + l_k` for a pair instead of the pair's own row.
_MAX_CLASSES = 128
_CHUNK_ENTRIES = 2**23


def product_pairs(graph: Graph, norm: str, norms: Mapping[int, NormBound]) -> Tensor:
    """`L_encoder ||c_j - c_k||_*` with the product of norms for the encoder (Corollary 3.3, many classes).

    `||.||_*` is l_1 for l_inf and l_2 for l_2. Where the last step is not a linear head, `2 L` (l_inf) and
    `sqrt(2) L` (l_2) for the whole network.
    """
    constants = product_constants(graph, norm, norms)
    classes = graph.nodes[-1].shape[0]
    index = len(graph.nodes) - 1
    while isinstance(graph.nodes[index].op, Reshape):
        index = graph.nodes[index].inputs[0]
    head = graph.nodes[index].op
    weight = _head_weight(head, classes) if isinstance(head, Affine) else None
    if weight is None:
        factor = 2.0 if norm == "linf" else sqrt(2.0)
        table = torch.full((classes, classes), above(constants[-1] * factor, 2), dtype=torch.float64)
        return table.fill_diagonal_(0.0)
    rows, slack = weight
    p = 1.0 if norm == "linf" else 2.0
    largest = float(rows.abs().max()) or 1.0  # squares of tiny weights would vanish
    distance = torch.cdist(rows / largest, rows / largest, p=p, compute_mode="donot_use_mm_for_euclid_dist") * largest
    distance = distance + slack[:, None] + slack
    distance = (distance * (1 + 2 * gamma(rows.shape[1] + 10))).fill_diagonal_(0.0)
    encoder = constants[graph.nodes[index].inputs[0]]
    return torch.where(distance > 0, distance * encoder, 0.0) * (1 + gamma(2))


def _head_weight(head: Affine, classes: int) -> tuple[Tensor, Tensor] | None:
    """The rows c_j (K, d) of a linear head and the most that rounding moved each one (l_1, so l_2 too)."""
    view = head.view
    if view.out_shape != (classes,):
        return None
    if isinstance(view, DenseView):
        return view.weight, torch.zeros(classes, dtype=torch.float64)
    if isinstance(view, FactorisedView) and isinstance(view.inner, DenseView):
        magnitude = view.outer.weight.abs() @ view.inner.weight.abs().sum(1)
        return view.matrix(), magnitude * 2 * gamma(view.rank + 2) * (1 + gamma(view.terms))
    return None


def loop_pairs(propagation: Propagation, norm: str) -> Tensor:
    """The loop bound of each pair: rows of the output's linear form are subtracted before norms are taken."""
    classes = len(propagation.linf)
    table = torch.zeros(classes, classes, dtype=torch.float64)
    if classes > _MAX_CLASSES:
        single = _row_bounds(propagation, norm, torch.arange(classes), None)
        return ((single[:, None] + single[None, :]) * (1 + gamma(2))).fill_diagonal_(0.0)
    j, k = torch.triu_indices(classes, classes, offset=1)
    table[j, k] = _row_bounds(propagation, norm, j, k)
    return table + table.T


def _row_bounds(propagation: Propagation, norm: str, first: Tensor, second: Tensor | None) -> Tensor:
    """Bounds of `z_first - z_second` for index tensors (p,), or of `z_first` alone."""
    total = torch.zeros(len(first), dtype=torch.float64)
    for source, form in propagation.output.items():
        matrix, error = form.written_out(len(propagation.linf))
        lengths = propagation.remainders[source]
        margin = 1 + 2 * gamma(matrix.shape[1] + 6)
        # |E_j - E_k| and its l_2 norm are at most sqrt(2) ||E||_F
        error = above(error * 1.5, 1)
        for part in torch.arange(len(first)).split(max(1, _CHUNK_ENTRIES // matrix.shape[1])):
            rows = matrix[first[part]] if second is None else matrix[first[part]] - matrix[second[part]]
            if norm == "linf":
                slack = above(error * frobenius(lengths.linf), 2)
                total[part] += (rows.abs() @ lengths.linf + slack) * margin
            else:
                largest = rows.abs().amax(1).clamp_min(torch.finfo(torch.float64).tiny)
                norms = (rows / largest[:, None]).norm(dim=1) * largest
                total[part] += (norms + error) * lengths.l2 * margin
    return torch.nan_to_num(total * (1 + 2 * gamma(2 * len(propagation.output) + 2)), nan=inf, posinf=inf)

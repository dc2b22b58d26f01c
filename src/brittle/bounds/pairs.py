"""Lipschitz constants of logit differences `z_j - z_k`, one for each pair of classes: what certificates divide by.

Legend: K classes; tables are (K, K), symmetric, zero on the diagonal, float64, in logits per unit of perturbation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.bounds.linear_forms import Propagation
from brittle.bounds.product import product_constants
from brittle.operators.graph import Affine, Graph, Reshape
from brittle.operators.linear import DenseView
from brittle.operators.rounding import gamma
from brittle.results.layer import NormBound

# Above this many classes the loop bound takes `l_j + l_k` for a pair instead of the pair's own row.
_MAX_CLASSES = 128


def product_pairs(graph: Graph, norm: str, norms: dict[int, NormBound]) -> Tensor:
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
    if isinstance(head, Affine) and isinstance(head.view, DenseView):
        weight = head.view.matrix()
        table = torch.cdist(weight, weight, p=1.0 if norm == "linf" else 2.0, compute_mode="donot_use_mm_for_euclid_dist")
        return table * constants[graph.nodes[index].inputs[0]] * (1 + gamma(weight.shape[1] + 4))
    whole = constants[-1] * (2.0 if norm == "linf" else 2.0**0.5) * (1 + 1e-15)
    return whole * (1 - torch.eye(classes, dtype=torch.float64))


def loop_pairs(propagation: Propagation, norm: str) -> Tensor:
    """The loop bound of each pair: rows of the output's linear form are subtracted before norms are taken."""
    classes = len(propagation.linf)
    if classes > _MAX_CLASSES:
        single = _row_bounds(propagation, norm, torch.eye(classes, dtype=torch.float64))
        return (single[:, None] + single[None, :]) * (1 - torch.eye(classes, dtype=torch.float64)) * (1 + 1e-15)
    j, k = torch.triu_indices(classes, classes, offset=1)
    differences = torch.zeros(len(j), classes, dtype=torch.float64)
    differences[torch.arange(len(j)), j] = 1.0
    differences[torch.arange(len(j)), k] = -1.0
    table = torch.zeros(classes, classes, dtype=torch.float64)
    table[j, k] = _row_bounds(propagation, norm, differences)
    return table + table.T


def _row_bounds(propagation: Propagation, norm: str, combinations: Tensor) -> Tensor:
    """Bounds of `combination . logits` for rows of combinations (r, K) with entries 0, 1, -1."""
    classes = combinations.shape[1]
    total = torch.zeros(len(combinations), dtype=torch.float64)
    for source, form in propagation.output.items():
        rows = combinations @ form.rows(classes)
        # at most two rows are added: one rounding an entry, and both rows' old errors
        error = 2 * form.error + gamma(classes) * float(rows.norm())
        remainder = propagation.remainders[source]
        if norm == "linf":
            total += rows.abs() @ remainder.linf * (1 + gamma(rows.shape[1])) + error * float(remainder.linf.norm())
        else:
            total += (rows.norm(dim=1) * (1 + gamma(rows.shape[1] + 2)) + error) * remainder.l2
    return total * (1 + gamma(2 * len(propagation.output) + 2))

"""LipSDP-Neuron for l_2: one solve bounds the network and every pair of classes (theory section 4).

`||f(x) - f(x')||_2 <= L ||x - x'||_2` with `L^2 = lambda_max(W_n X^{-1} W_n^T)`, and the difference of logits j and k
has `L_jk^2 = (w_j - w_k)^T X^{-1} (w_j - w_k)`, w_j the rows of W_n. Legend: K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import perf_counter

import torch
from torch import Tensor

from brittle.bounds.dense_chain import DenseChain, DenseMap
from brittle.bounds.lipsdp_proof import ProvenForm, prove
from brittle.bounds.lipsdp_search import Found, largest_objective, minimise
from brittle.bounds.logit_rows import combined, pair_rows, pair_table
from brittle.operators.rounding import above, scaled_back

# Pairs are solved for in blocks of this many.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class LipSDP:
    """The bound of one solve: `value` (infinite where rounding leaves no proof) and the proven form behind it.

    `steps` of Adam taken, `out_of_time` whether the time limit ended them, `seconds` of wall time with the proof.
    """

    value: float
    seconds: float
    steps: int
    out_of_time: bool
    last: DenseMap
    exponent: int
    form: ProvenForm | None

    def rows(self, rows: Tensor) -> Tensor:
        """Upper bounds of the l_2 constants of `rows @ logits` for rows (r, K): (r,)."""
        if self.form is None:
            return torch.full((len(rows),), inf, dtype=torch.float64)
        bounds = [self.form.inverse_bounds(combined(part, self.last)) for part in rows.split(_BLOCK)]
        return torch.tensor([_constant(float(b), self.exponent) for b in torch.cat(bounds)], dtype=torch.float64)

    def logits(self) -> Tensor:
        """Upper bounds of the single logits' constants: (K,)."""
        return self.rows(torch.eye(len(self.last.matrix), dtype=torch.float64))

    def pairs(self) -> Tensor:
        """Upper bounds of the constants of `z_j - z_k`: (K, K), symmetric, zero on the diagonal."""
        classes = len(self.last.matrix)
        return pair_table(classes, self.rows(pair_rows(classes)))


def lipsdp_l2(chain: DenseChain, *, steps: int = 100, time_limit: float = inf) -> LipSDP:
    """An upper bound on the l_2 Lipschitz constant from input to logits, rounding included.

    Args:
        chain: as made by `dense_chain`.
        steps: of Adam; the first is at D = I, theta = 1/2 (ECLipsE-Fast for slopes in [0, 1]), and is always made.
        time_limit: seconds for the search; the proof comes on top.

    Raises:
        ModelError: NaN or infinite weights.
    """
    begin = perf_counter()
    unit, exponent = chain.unit()
    *hidden, last = unit.maps
    slopes = unit.slopes
    if any(m.zero() for m in unit.maps):
        hidden, slopes, last = [], (), DenseMap(torch.zeros_like(last.matrix), None)
    width = (hidden[0] if hidden else last).matrix.shape[1]
    found = Found(torch.ones(1, width, dtype=torch.float64), (), 0, False)
    if hidden:
        weights = tuple(m.matrix for m in hidden)
        objective = largest_objective(last.matrix)
        found = minimise(
            weights, slopes, found.mu, objective, free_mu=False, steps=max(steps, 1), time_limit=time_limit
        )
    form = prove(tuple(hidden), slopes, found.mu[0], tuple(lam[0] for lam in found.lams))
    value = inf if form is None else _constant(form.largest_inverse_bound(last), exponent)
    return LipSDP(value, perf_counter() - begin, found.steps, found.out_of_time, last, exponent, form)


def _constant(square: float, exponent: int) -> float:
    return scaled_back(0.0, above(square**0.5, 2), exponent)[1]

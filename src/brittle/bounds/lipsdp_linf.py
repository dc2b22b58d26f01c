"""The weighted LipSDP recursion for l_inf: a solve for each logit or pair of classes, batched (theory section 4).

For a combination v of the last layer's units, `|v . u| <= sqrt(v^T X^{-1} v) sqrt(u_0^T diag(mu) u_0)` and
`u_0^T diag(mu) u_0 <= sum(mu) ||u_0||_inf^2`: its constant is at most `sqrt(sum(mu) v^T X^{-1} v)` for every mu > 0.

Legend: K classes, r combinations of logits, d inputs, h units before the last map.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import perf_counter

import torch
from torch import Tensor

from brittle.bounds.dense_chain import DenseChain, DenseMap
from brittle.bounds.lipsdp_proof import prove
from brittle.bounds.lipsdp_search import minimise, rows_objective
from brittle.bounds.logit_rows import combined, pair_rows, pair_table
from brittle.errors import UsageError
from brittle.operators.rounding import above, scaled_back

# Entries of one batched matrix (64 MB); more rows are solved one batch after another.
_MAX_ENTRIES = 8_000_000
_LOGIT_STEPS, _PAIR_STEPS = 150, 80


@dataclass(frozen=True, eq=False)
class WeightedLipSDP:
    """Upper bounds `values` (r,) of the l_inf constants of r combinations of logits; infinite where no proof was found.

    `steps` of Adam each row took at least, `out_of_time` whether the time limit ended any, `seconds` of wall time.
    """

    values: Tensor
    seconds: float
    steps: int
    out_of_time: bool

    @property
    def value(self) -> float:
        """The largest: for the single logits, the constant of the network from l_inf to l_inf."""
        return float(self.values.max())


def lipsdp_linf(
    chain: DenseChain, rows: Tensor, *, steps: int = _LOGIT_STEPS, time_limit: float = inf
) -> WeightedLipSDP:
    """Upper bounds on `max |row . (f(x) - f(x'))| / ||x - x'||_inf`, rounding included.

    Args:
        chain: as made by `dense_chain`.
        rows: (r, K) combinations of logits; the identity for single logits, `pair_rows(K)` for pairs of classes.
        steps: of Adam.
        time_limit: seconds for the search, shared by all rows; each batch makes one step at least, proofs come on top.

    Raises:
        ModelError: NaN or infinite weights.
        UsageError: rows that do not fit the chain's logits.
    """
    begin = perf_counter()
    classes = len(chain.maps[-1].matrix)
    if rows.dim() != 2 or rows.shape[1] != classes or len(rows) == 0:
        raise UsageError(f"expected rows of {classes} coefficients, one for each logit, got shape {tuple(rows.shape)}")
    unit, exponent = chain.unit()
    vectors = combined(rows.to(torch.float64), unit.maps[-1])
    if any(m.zero() for m in unit.maps):
        return WeightedLipSDP(torch.zeros(len(rows), dtype=torch.float64), perf_counter() - begin, 0, False)
    if not unit.slopes:  # a linear network: the constant is a row sum
        sums = vectors.matrix.abs().sum(1) + vectors.errors().sum(1)
        values = [_constant(above(float(s), vectors.matrix.shape[1] + 2) ** 2, exponent) for s in sums]
        return WeightedLipSDP(torch.tensor(values, dtype=torch.float64), perf_counter() - begin, 0, False)
    widest = max(max(m.matrix.shape) for m in unit.maps[:-1])
    batch = max(1, _MAX_ENTRIES // widest**2)
    values, fewest, late = [], steps, False
    for start in range(0, len(rows), batch):
        stop = min(start + batch, len(rows))
        part = DenseMap(vectors.matrix[start:stop], None if vectors.slack is None else vectors.slack[start:stop])
        share = (time_limit - (perf_counter() - begin)) * (stop - start) / (len(rows) - start)
        found, taken, out = _batch(unit, part, max(steps, 1), share)
        values += [_constant(v, exponent) for v in found]
        fewest, late = min(fewest, taken), late or out
    return WeightedLipSDP(torch.tensor(values, dtype=torch.float64), perf_counter() - begin, fewest, late)


def lipsdp_linf_pairs(chain: DenseChain, *, steps: int = _PAIR_STEPS, time_limit: float = inf) -> Tensor:
    """Upper bounds of the l_inf constants of `z_j - z_k`: (K, K), symmetric, zero on the diagonal.

    A solve for each of the K (K - 1) / 2 pairs: for few classes. Raises as `lipsdp_linf`.
    """
    classes = len(chain.maps[-1].matrix)
    if classes == 1:
        return torch.zeros(1, 1, dtype=torch.float64)
    return pair_table(classes, lipsdp_linf(chain, pair_rows(classes), steps=steps, time_limit=time_limit).values)


def _batch(chain: DenseChain, vectors: DenseMap, steps: int, time_limit: float) -> tuple[list[float], int, bool]:
    """Upper bounds of `sum(mu) v^T X^{-1} v` for each row of `vectors`, the steps taken, and whether time ran out."""
    *hidden, _ = chain.maps
    weights = tuple(m.matrix for m in hidden)
    alive = vectors.matrix.abs().sum(1, keepdim=True) > 0
    target = torch.where(alive, vectors.matrix, 1.0)  # a zero row needs no search
    found = minimise(
        weights,
        chain.slopes,
        _first_mu(weights, target),
        rows_objective(target),
        free_mu=True,
        steps=steps,
        time_limit=time_limit,
    )
    squares = []
    for r in range(len(target)):
        slack = None if vectors.slack is None else vectors.slack[r : r + 1]
        row = DenseMap(vectors.matrix[r : r + 1], slack)
        if row.zero():
            squares.append(0.0)
            continue
        form = prove(tuple(hidden), chain.slopes, found.mu[r], tuple(lam[r] for lam in found.lams))
        if form is None:
            squares.append(inf)
            continue
        total = above(float(found.mu[r].sum()), found.mu.shape[1])
        squares.append(above(float(form.inverse_bounds(row)[0]) * total, 2))
    return squares, found.steps, found.out_of_time


def _first_mu(weights: tuple[Tensor, ...], vectors: Tensor) -> Tensor:
    """`|v W_{n-1} ... W_1|`, the best choice for the network's linear part, kept away from 0."""
    linear = vectors
    for weight in reversed(weights):
        linear = linear @ weight
    size = linear.abs()
    mean = size.mean(1, keepdim=True)
    return torch.where(mean > 0, size / mean.clamp_min(1e-300), 1.0) + 0.3


def _constant(square: float, exponent: int) -> float:
    return scaled_back(0.0, above(square**0.5, 2), exponent)[1]

"""What a matrix's singular values are like, from random probes alone, with intervals. Legend: n values, m probes.

*Stochastic Lanczos quadrature* (Ubaru, Chen, Saad, SIAM J. Matrix Anal. Appl. 2017): each probe v gives nodes and
weights with `sum w f(node) ~ v^T f(G) v`, whose mean over the sphere is `trace f(G) / n`. All probes together are an
estimate of the distribution of sigma, from which effective rank, residual and PQ index are computed.

*Intervals* have two parts, added: the spread between probes (jackknife), and the error of the quadrature, which falls
at least as one over the steps squared for the functions at hand and is taken as twice the largest change from fewer
steps. They are meant to hold for 95 %; the quantile is that of 98 %, since few dominant values make spreads skewed.

*The largest value* is a Rayleigh quotient, so a lower bound. After j steps from a random start it misses lambda_1 by
more than a share e with probability at most `1.648 sqrt(n) exp(-sqrt(e) (2 j - 1))` (Kuczynski, Wozniakowski, SIAM J.
Matrix Anal. Appl. 1992, theorem 4.2); m independent probes all miss with the m-th power of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt

import torch
from scipy.stats import t as student
from torch import Tensor

from brittle.checkpoints.lanczos import Recurrence
from brittle.operators.rounding import UNIT, below, gamma
from brittle.results.structure import Quantity

_FAILURE = 0.05
_TWO_SIDED = 0.98
# Square roots of rounded zeros: what each of n vanishing singular values may add, relative to the largest.
_ROUNDING = 3e-8
# Shares of the steps that the quadrature's error is judged from.
_FEWER = (1 / 2, 2 / 3, 3 / 4, 5 / 6)


@dataclass(frozen=True)
class Estimates:
    """Of one matrix; residual and PQ index as in `brittle.compressibility`."""

    sigma_max: Quantity
    stable_rank: Quantity
    effective_rank: Quantity
    epsilon: Quantity
    pq_index: Quantity


def estimate(recurrence: Recurrence, n: int, k: int, frobenius: float, roundings: int) -> Estimates:
    """The estimates from one run of `lanczos` on a Gram matrix that is not zero.

    Args:
        recurrence: of the matrix.
        n: its short side.
        k: singular values kept for the residual.
        frobenius: its Frobenius norm, exact.
        roundings: of one entry of a product with the Gram matrix, for the lower bound on sigma_1.
    """
    steps, probes = recurrence.diagonal.shape
    nodes, weights = recurrence.quadrature(steps)
    top = float(nodes.max())
    unit = sqrt(top)
    energy = frobenius**2 / top

    def values(nodes: Tensor, weights: Tensor) -> Tensor:
        x = (nodes / top).flatten()
        return _functionals(x.sqrt(), _calibrated(x, weights.flatten() * (n / len(nodes)), energy), n, k)

    found = values(nodes, weights)
    others = ~torch.eye(probes, dtype=torch.bool)
    left_out = torch.stack([values(nodes[row], weights[row]) for row in others])
    spread = ((probes - 1) / probes * (left_out - left_out.mean(0)).square().sum(0)).sqrt()
    fewer = [values(*recurrence.quadrature(max(1, int(share * steps)))) for share in _FEWER]
    change = torch.stack([(one - found).abs() for one in fewer]).amax(0)
    error = float(student.ppf((1 + _TWO_SIDED) / 2, probes - 1)) * spread + 2 * change
    entropy, residual, total = found.tolist()
    stray = n * _ROUNDING / total
    e_entropy, e_residual, e_total = error.tolist()
    e_entropy, e_residual, e_total = e_entropy + 24 * stray, e_residual + stray, e_total + stray * total

    # a product's rounding is at most gamma || |W| ||_2^2 <= gamma ||W||_F^2; the basis is orthogonal to a few u
    low = below(sqrt(max(0.0, top - (2 * gamma(roundings) + 16 * steps * UNIT) * frobenius**2)), 4)
    high = max(low, unit / sqrt(1 - missed(n, steps, probes)))
    largest = (frobenius / low) ** 2 if low else float(n)
    pq = [1 - s * unit / (sqrt(n) * frobenius) for s in (total, total + e_total, total - e_total)]
    ranks = [min(float(n), exp(entropy + e)) for e in (0.0, -e_entropy, e_entropy)]
    return Estimates(
        sigma_max=Quantity(low, "lower_bound", (low, high)),
        stable_rank=Quantity(largest, "upper_bound", ((frobenius / high) ** 2, largest)),
        effective_rank=Quantity(max(1.0, ranks[0]), "estimate", (max(1.0, ranks[1]), ranks[2])),
        epsilon=Quantity(residual, "estimate", (max(0.0, residual - e_residual), min(1.0, residual + e_residual))),
        pq_index=Quantity(_share(pq[0]), "estimate", (_share(pq[1]), _share(pq[2]))),
    )


def missed(n: int, steps: int, probes: int) -> float:
    """The share of lambda_1 by which the best of `probes` Ritz values falls short in 5 % of draws at most (below 1)."""
    if steps >= n:
        return 1e-12
    single = _FAILURE ** (1 / probes)
    share = (max(0.0, log(1.648 * sqrt(n) / single)) / (2 * steps - 1)) ** 2
    return min(share, 1 - 1e-6)


def _calibrated(x: Tensor, weights: Tensor, energy: float) -> Tensor:
    """Weights times `1 + b (x - mean)`, so that `sum weights x` is the known `energy`; their sum stays.

    Where the few largest values carry the spread between probes, this removes most of it.
    """
    mean = (weights * x).sum() / weights.sum()
    variance = (weights * (x - mean).square()).sum()
    if float(variance) <= 1e-12 * float(weights.sum()):
        return weights
    factors = 1 + (energy - mean * weights.sum()) / variance * (x - mean)
    return weights if float(factors.min()) < 0 else weights * factors


def _functionals(sigma: Tensor, weights: Tensor, n: int, k: int) -> Tensor:
    """Log effective rank, residual at k, and the sum, of a distribution of n values in [0, 1]: (3,)."""
    order = sigma.argsort(descending=True)
    sigma, weights = sigma[order], weights[order]
    total = (sigma * weights).sum()
    entropy = (torch.special.entr(sigma) * weights).sum() / total + total.log()
    before = weights.cumsum(0) - weights
    kept = (k - before).clamp_min(0).minimum(weights)
    return torch.stack([entropy, (1 - (sigma * kept).sum() / total).clamp(0, 1), total])


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))

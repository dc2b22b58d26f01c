"""Theorem 3.1: operator norms through structure times scale, from both sides, with exact residuals (theory section 3).

    ||W||_inf <= (1 - eps_nu) / (k (1 - beta_nu)) * (sqrt(h k_r) + sqrt(h (d - k_r)) eps_r) * ||W||_F
    ||W||_2   <= (1 - eps_sigma) / (k (1 - beta_sigma)) * sqrt(min(h, d)) * ||W||_F
    ||W||_p   >= sqrt((1 - eps) / k) * ||W||_F

nu the rows' l_1 norms, sigma the singular values, eps the residuals at k with q = 1, eps_r the largest row's residual
at k_r with q = 2. Upper sides: Barsbey et al., ICLR 2026 (arXiv 2507.17725), Theorem 3.1; lower sides: ours.

*The best k.* `1 - eps_k` is the sum of the k largest terms over the whole, so with `beta_mean` the first factor is
`t_(1) / ||t||_1` whatever k is; with the paper's `beta >= beta_mean` it is larger except at k = 1, where both are 0.
The lower side falls with k, as the k largest terms' mean does. So k = 1 is best on both sides; only k_r is searched.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import torch
from torch import Tensor

from brittle.compressibility.rank import singular_values
from brittle.errors import UsageError
from brittle.operators.rounding import UNIT, above, below, gamma, scaled_back, squarable
from brittle.results.layer import Theorem31

# Entries whose rows are sorted at once: they stay in a core's own cache.
_CHUNK_ENTRIES = 2**15


def theorem31(matrix: Tensor, sigma: Tensor | None = None, nu: Tensor | None = None) -> dict[str, Theorem31]:
    """Both sides for "linf" and "l2", at the k and k_r that make the upper side smallest; `matrix` is W (h, d).

    `sigma` are the values of `rank.singular_values` and `nu` the rows' l_1 norms where the caller has them; what the
    computation of sigma can have changed is part of both sides.

    Raises:
        UsageError: not a matrix, or an empty one.
        ModelError: NaN or infinity in it.
    """
    if matrix.dim() != 2 or matrix.numel() == 0:
        raise UsageError(f"Theorem 3.1 needs a matrix (neurons, fan-in) with entries, got shape {tuple(matrix.shape)}")
    w, exponent, frobenius = squarable(matrix.detach().to(torch.float64))
    h, d = w.shape
    if frobenius == 0.0:
        return {"linf": Theorem31(0.0, 0.0, 1, 1), "l2": Theorem31(0.0, 0.0, 1, None)}
    k_r, bracket = _best_k_r(w)
    linf = dominant_share(torch.linalg.vector_norm(w, 1, dim=1) if nu is None else nu)
    low, high = _spectral_shares(singular_values(w) if sigma is None else sigma, h, d)
    # Residuals, sums and roots: all are sums of non-negative terms, so relative errors add up to a few (h + d) u.
    roundings = 32 * (h + d) + 64

    def sides(upper: float, lower: float, k_r: int | None) -> Theorem31:
        low, up = scaled_back(below(lower, roundings), above(upper, roundings), exponent)
        return Theorem31(up, low, 1, k_r)

    return {
        "linf": sides(linf * bracket * frobenius, sqrt(linf) * frobenius, k_r),
        "l2": sides(high * sqrt(min(h, d)) * frobenius, sqrt(low) * frobenius, None),
    }


def dominant_share(t: Tensor) -> float:
    """`(1 - eps_{1,k}) / (k (1 - beta_mean_k)) = t_(1) / ||t||_1`, the same for every k; t >= 0 and not all zero."""
    return 1.0 / float((t / t.max()).sum())


def _spectral_shares(sigma: Tensor, h: int, d: int) -> tuple[float, float]:
    """`lower <= sigma_1 / sum sigma <= upper` for computed singular values.

    With `t = sigma / sigma_1` each t_i^2 is off by at most `e = 2 gamma(k + 2) ||W||_F^2 / sigma_1^2 + 16 n u` through
    the Gram matrix (n and k the short and the long side), and by at most `16 (h + d) u t_i` through a decomposition;
    so t_i is off by at most `min(sqrt e, e / t_i)`.
    """
    t = sigma / sigma.max()
    e = 4 * gamma(max(h, d) + 2) * float(t.square().sum()) + 32 * (h + d) * UNIT
    wrong = (e / t.clamp_min(e**0.5)).clamp_max(e**0.5)
    return 1.0 / float((t + wrong).sum()), 1.0 / float((t - wrong).clamp_min(0.0).sum())


def row_residuals(w: Tensor) -> Tensor:
    """`eps_r(k_r)`, the largest over rows of `||w_i - (w_i)_{k_r}||_2 / ||w_i||_2`, for k_r = 1 ... d: (d,)."""
    largest = w.new_zeros(w.shape[1])
    for rows in w.split(max(1, _CHUNK_ENTRIES // w.shape[1])):
        tail = rows.abs()
        # numpy's sort works on several numbers at once: ten times faster here than torch's
        ordered: np.ndarray = tail.numpy()
        ordered.sort(axis=1)
        size = tail[:, -1:].clone()
        if float(size.min()) < 2.0**-300:  # squares of a tiny row would vanish
            tail /= torch.where(size == 0, 1.0, size)
        tail = tail.square_().cumsum(1)
        tail /= tail[:, -1:].clone().clamp_min(torch.finfo(w.dtype).tiny)
        torch.maximum(largest, tail.amax(0), out=largest)
    # The k_r largest are kept: what is left are the d - k_r smallest, nothing at k_r = d.
    return torch.cat([largest.new_zeros(1), largest[:-1]]).sqrt().flip(0)


def _best_k_r(w: Tensor) -> tuple[int, float]:
    h, d = w.shape
    k_r = torch.arange(1, d + 1, dtype=torch.float64)
    bracket = (h * k_r).sqrt() + (h * (d - k_r)).sqrt() * row_residuals(w)
    best = int(bracket.argmin())
    return best + 1, float(bracket[best])

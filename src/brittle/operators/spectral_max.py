"""The largest singular value over many matrices, from above, by one Cholesky factorisation each.

For `G = B B^*` and a bound c, a Cholesky factorisation of `c I - G_hat` that runs to completion proves
`lambda_max(G_hat) <= c + e`: the computed factor R satisfies `R^* R = c I - G_hat + D`, `|D| <= gamma |R^*||R|`, and
`|| |R^*||R| ||_2 <= ||R||_F^2 <= n c / (1 - gamma)` (Higham, theorem 10.3; Rump 2006 uses the same argument), so
`e = 2 gamma n c`. A factorisation costs a small part of an eigendecomposition; only the few matrices that could hold
the maximum get one. Complex arithmetic is covered by four times the real gamma.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

import torch
from torch import Tensor

from brittle.operators.rounding import above, gamma

# The bound is set this far (relative, on lambda) above the largest eigenvalue found, so that factorisations succeed.
_ROOM = 1e-6
_POWER_STEPS = 6


def spectral_max(chunks: Iterable[Tensor]) -> float:
    """An upper bound of sigma_max over all matrices (f, m, n) of all chunks: rounding included, at most 10^-6 loose."""
    bound, error = 0.0, 0.0
    for chunk in chunks:
        short = chunk if chunk.shape[-2] <= chunk.shape[-1] else chunk.mH
        gram = short @ short.mH
        n, k = short.shape[-2:]
        bound = _covering(gram, bound)
        frobenius = float(gram.diagonal(dim1=-2, dim2=-1).real.sum(-1).max())
        rounding = 4 * (k + 4), 4 * (n + 4)
        error = max(error, 2 * gamma(rounding[0]) * frobenius + 4 * gamma(rounding[1]) * n * bound)
    return above(sqrt(bound + error), 8)


def _covering(gram: Tensor, bound: float) -> float:
    """`bound`, raised where needed until it covers the eigenvalues of every matrix of the batch (f, n, n)."""
    estimate = _power_estimate(gram)
    first = int(estimate.argmax())
    if float(estimate[first]) > bound:
        bound = _raised(gram[first], bound)
    left = torch.arange(len(gram))
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
    while len(left):
        if bound > 0:
            failed = torch.linalg.cholesky_ex(bound * identity - gram[left]).info != 0
            left = left[failed]
        elif not bool(gram[left].any()):
            break
        if len(left):
            worst = int(estimate[left].argmax())
            bound = _raised(gram[left[worst]], bound)
            left = torch.cat([left[:worst], left[worst + 1 :]])  # its eigenvalue is known: the new bound covers it
    return bound


def _raised(gram: Tensor, bound: float) -> float:
    return max(bound, float(torch.linalg.eigvalsh(gram)[-1]) * (1 + _ROOM))


def _power_estimate(gram: Tensor) -> Tensor:
    """A rough estimate from below of each matrix's largest eigenvalue: it only decides whom to look at first."""
    column = gram.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    v = gram[torch.arange(len(gram)), :, column].unsqueeze(-1)
    value = torch.zeros(len(gram), dtype=torch.float64)
    for _ in range(_POWER_STEPS):
        v = v / v.norm(dim=-2, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        v = gram @ v
        value = v.norm(dim=-2).squeeze(-1)
    return value

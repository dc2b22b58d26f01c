"""Singular values that can be differentiated, through the Gram matrix of the short side.

Legend: r = min(h, d), sigma (..., r) rising, G = W W^T of the short side.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this share of sigma_1^2 an eigenvalue of a float64 Gram matrix is rounding.
_ROUNDING = 1e-14


def wide(weight: Tensor) -> Tensor:
    """W or its transpose, whichever has its short side first: (..., r, max(h, d))."""
    return weight if weight.shape[-2] <= weight.shape[-1] else weight.mT


def gram(weight: Tensor) -> Tensor:
    """`W W^T` of the short side, (..., h, d) -> (..., r, r)."""
    short = wide(weight)
    return short @ short.mT


def singular(weight: Tensor) -> Tensor:
    """sigma in float64, (..., h, d) -> (..., r); all NaN where W holds NaN or infinity.

    What rounding cannot tell from 0 (below 1e-7 sigma_1) is 0 and has the gradient 0, which is a subgradient of every
    norm of sigma. Equal values are no difficulty: only eigenvalues are differentiated, whose gradient is `U g U^T`.
    """
    g = gram(weight.double())
    if not bool(g.isfinite().all()):
        return g.sum(-1) * torch.nan
    values = torch.linalg.eigvalsh(g)
    real = (values > _ROUNDING * values[..., -1:]) & (values > 0)
    return torch.where(real, values, 1).sqrt() * real


def factors(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (..., r, r), sigma (..., r) and `U^T W` (..., r, n) in float64, of a wide W (..., r, n), r <= n.

    sigma are the lengths of the rows of `U^T W`: more digits than the roots of the Gram matrix's eigenvalues.
    """
    w = weight.detach().double()
    u = torch.linalg.eigh(w @ w.mT).eigenvectors
    rows = u.mT @ w
    return u, torch.linalg.vector_norm(rows, dim=-1), rows

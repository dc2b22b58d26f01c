"""Singular values and what they say about rank. Legend: W (h, d), sigma (min(h, d),) sorted, largest first."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.operators.rounding import unit_scaled

# Up to this short side a full decomposition is quick, and accurate for small singular values too.
_SMALL = 256


def singular_values(matrix: Tensor, *, small_matter: bool = False) -> Tensor:
    """sigma in float64, (min(h, d),).

    Large matrices go through the Gram matrix of the short side: fast, but values below some 1e-8 sigma_1 drown in
    rounding (they come out between 0 and that). `small_matter=True` pays for a singular value decomposition.

    Raises:
        ModelError: NaN or infinity in the matrix.
    """
    scaled, exponent = unit_scaled(matrix.detach().to(torch.float64))
    if small_matter or min(matrix.shape) <= _SMALL:
        sigma = torch.linalg.svdvals(scaled)
    else:
        short = scaled if scaled.shape[0] <= scaled.shape[1] else scaled.T
        sigma = torch.linalg.eigvalsh(short @ short.T).clamp_min(0).sqrt().flip(0)
    return torch.ldexp(sigma, torch.tensor(exponent))


def effective_rank(sigma: Tensor) -> float:
    """`exp(entropy(sigma / sum sigma))`, from 1 to the number of values; 0 for a zero matrix (Roy, Vetterli 2007)."""
    total = float(sigma.sum())
    if total == 0:
        return 0.0
    return float(torch.special.entr(sigma / total).sum().exp())


def stable_rank(sigma: Tensor) -> float:
    """`||W||_F^2 / ||W||_2^2`, between 1 and the rank; 0 for a zero matrix."""
    largest = float(sigma.max()) if sigma.numel() else 0.0
    return 0.0 if largest == 0 else float((sigma / largest).square().sum())

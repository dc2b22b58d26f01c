"""Singular values and what they say about rank. Legend: W (h, d), sigma (min(h, d),) sorted, largest first.

One eigenproblem of the short side's Gram matrix gives all squared singular values, each to an explicit error (see
`operators.rounding`), and so the norm's sandwich too. Squaring loses what is small: values below 1e-5 sigma_1 have
fewer than four digits. A singular value decomposition has them all and costs several times more.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ldexp

import torch
from torch import Tensor

from brittle.operators.rounding import gram_values, unit_scaled

# Singular values below this share of the largest are not resolved by a Gram matrix in float64.
FLOOR = 1e-5
# Up to this short side a decomposition is quick, and made where a Gram matrix does not resolve all values.
_SMALL = 256


@dataclass(frozen=True, eq=False)
class Spectrum:
    """All singular values of one matrix.

    `sigma` (min(h, d),) float64, largest first; `lower <= sigma_1 <= upper`, rounding included; `frobenius` to
    rounding; the last `below_floor` values lie below `FLOOR * sigma_1` and are known to be small, nothing more.
    """

    sigma: Tensor
    lower: float
    upper: float
    frobenius: float
    below_floor: int


def spectrum(matrix: Tensor, *, small_matter: bool = False) -> Spectrum:
    """Singular values of `matrix` (h, d), the norm's sandwich and the Frobenius norm, in one pass.

    `small_matter=True` pays for a singular value decomposition where the Gram matrix does not resolve all values; up
    to a short side of 256 it is made anyway.

    Raises:
        ModelError: NaN or infinity in the matrix.
    """
    w = matrix.detach().to(torch.float64)
    gram = gram_values(w)
    if float(gram.trace) == 0.0:
        return Spectrum(w.new_zeros(min(w.shape)), 0.0, 0.0, 0.0, 0)
    sigma = gram.values.clamp_min(0).sqrt().flip(0)
    lower, upper = gram.norm_sandwich()
    below = int((sigma < FLOOR * sigma[0]).sum())
    if below and (small_matter or min(w.shape) <= _SMALL):
        sigma, below = torch.linalg.svdvals(w if gram.exponent == 0 else unit_scaled(w)[0]), 0
    frobenius = ldexp(float(gram.trace) ** 0.5, gram.exponent)
    return Spectrum(torch.ldexp(sigma, torch.tensor(gram.exponent)), lower, upper, frobenius, below)


def singular_values(matrix: Tensor, *, small_matter: bool = False) -> Tensor:
    """sigma in float64, (min(h, d),): those of `spectrum`.

    Raises:
        ModelError: NaN or infinity in the matrix.
    """
    return spectrum(matrix, small_matter=small_matter).sigma


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

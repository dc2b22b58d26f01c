"""Explicit rounding margins: what float64 arithmetic can have added to, or taken from, a computed norm.

With unit roundoff u = 2^-53 a sum of n products, in any order, is computed as `s_hat` with `|s_hat - s| <= gamma(n) *
sum |terms|`, `gamma(n) = n u / (1 - n u)` (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).

*Row sums.* All terms are non-negative, so `s_hat / (1 + gamma) <= s <= s_hat / (1 - gamma)`.

*Gram matrices.* For `G = A A^T` with k products per entry, `|G_hat - G| <= gamma(k) |A||A|^T`, hence
`||G_hat - G||_2 <= gamma(k) || |A| ||_2^2 <= gamma(k) min(||A||_F^2, ||A||_1 ||A||_inf)`. LAPACK's symmetric
eigensolvers are normwise backward stable: each eigenvalue of G_hat moves by at most `p(n) u ||G_hat||_2` with a modest
p; we take p(n) = 16 n. By Weyl's inequality both errors add to `lambda_max`, and `sigma_max = sqrt(lambda_max)`.
"""

from __future__ import annotations

from math import frexp, inf, ldexp, nextafter, sqrt

import torch
from torch import Tensor

from brittle.errors import ModelError
from brittle.results.layer import NormBound

UNIT = 2.0**-53
# Two sides of a sandwich that agree to this relative distance are called exact.
EXACT = 1e-9


def gamma(n: float) -> float:
    """`n u / (1 - n u)`, the relative error of n roundings in a row; infinite once n u reaches 1."""
    return n * UNIT / (1 - n * UNIT) if n * UNIT < 1 else inf


def above(value: float, n: float = 0) -> float:
    """The smallest safe upper bound of a number >= 0 computed as `value` with n roundings; an exact 0 stays 0."""
    return 0.0 if value == 0.0 else nextafter(value * (1 + 2 * gamma(n + 2)), inf)


def below(value: float, n: float = 0) -> float:
    """The largest safe lower bound, at least 0, of a number >= 0 computed as `value` with n roundings."""
    return max(0.0, nextafter(value / (1 + 2 * gamma(n + 2)), -inf))


def norm_bound(lower: float, upper: float) -> NormBound:
    """A sandwich as a record; "exact" where its sides agree to `EXACT`, relative."""
    lower = max(0.0, min(lower, upper))
    return NormBound(upper, "exact" if upper - lower <= EXACT * upper else "upper_bound", lower)


def unit_scaled(matrix: Tensor) -> tuple[Tensor, int]:
    """`matrix / 2^e` with largest magnitude in [1/2, 1), and e: exact, so that squares neither overflow nor vanish.

    Raises:
        ModelError: an entry is NaN or infinite.
    """
    largest = float(matrix.abs().max()) if matrix.numel() else 0.0
    if not largest < inf:
        raise ModelError("expected finite weights, got NaN or infinity: check the checkpoint for a diverged layer")
    if largest == 0.0:
        return matrix, 0
    exponent = int(torch.frexp(torch.tensor(largest, dtype=torch.float64)).exponent)
    half = exponent // 2  # in two steps: 2^1074 itself is not a float64
    return matrix * 2.0**-half * 2.0 ** (half - exponent), exponent


def scaled_back(lower: float, upper: float, exponent: int) -> tuple[float, float]:
    """Both sides times `2^exponent`, one step outwards each; infinite beyond float64's range."""
    low, high = (
        value if value == 0.0 else inf if frexp(value)[1] + exponent > 1024 else ldexp(value, exponent)
        for value in (lower, upper)
    )
    return nextafter(low, 0.0), high if high == 0.0 == upper else nextafter(high, inf)


def gram_sandwich(matrix: Tensor) -> tuple[float, float]:
    """`lower <= max over the batch of sigma_max <= upper` for float64 matrices (..., m, n), by the short side's Gram.

    Raises:
        ModelError: an entry is NaN or infinite.
    """
    if matrix.numel() == 0:
        return 0.0, 0.0
    scaled, exponent = unit_scaled(matrix.to(torch.float64))
    if exponent == 0 and not bool(scaled.any()):
        return 0.0, 0.0
    a = scaled if scaled.shape[-2] <= scaled.shape[-1] else scaled.mT
    n, k = a.shape[-2:]
    largest = float(torch.linalg.eigvalsh(a @ a.mT)[..., -1].max())
    magnitude = a.abs()
    product = magnitude.sum(-1).amax(-1) * magnitude.sum(-2).amax(-1)
    size = float(torch.minimum(product, magnitude.square().sum((-2, -1))).max())
    error = 2 * gamma(k + 2) * size + 16 * n * UNIT * largest
    return scaled_back(below(sqrt(max(0.0, largest - error)), 4), above(sqrt(largest + error), 4), exponent)


def gram_norm(matrix: Tensor) -> float:
    """An upper bound of `||matrix||_2` that covers rounding; the upper side of `gram_sandwich`."""
    return gram_sandwich(matrix)[1]

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

from dataclasses import dataclass
from math import frexp, inf, isfinite, ldexp, nextafter, sqrt

import torch
from torch import Tensor

from brittle.errors import ModelError
from brittle.results.layer import NormBound

UNIT = 2.0**-53
_DIVERGED = "expected finite weights, got NaN or infinity: check the checkpoint for a diverged layer"
# A Gram matrix of at least this side is computed by blocks of its lower half.
_BLOCKED = 256
# Squares of matrices whose Frobenius norm lies here lose nothing that matters to overflow or underflow.
_TAME = 2.0**-80, 2.0**100
_BLOCKS = 4
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
    largest = largest_magnitude(matrix)
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


def largest_magnitude(matrix: Tensor) -> float:
    """`max |entry|`, 0 for nothing.

    Raises:
        ModelError: an entry is NaN or infinite.
    """
    if matrix.numel() == 0:
        return 0.0
    low, high = (float(end) for end in torch.aminmax(matrix))
    if not (isfinite(low) and isfinite(high)):
        raise ModelError(_DIVERGED)
    return max(abs(low), abs(high))


def check_finite_matrix(w: Tensor) -> None:
    """Refuse what is no weight matrix (neurons, fan-in) of finite numbers.

    Raises:
        ModelError: another shape, no entries, NaN or infinity.
    """
    if w.dim() != 2 or w.numel() == 0:
        raise ModelError(f"a linear layer needs a weight (neurons, fan-in), got shape {tuple(w.shape)}")
    largest_magnitude(w if w.element_size() > 1 else w.float())


@dataclass(frozen=True, eq=False)
class GramValues:
    """Eigenvalues of the short side's Gram matrix of `A / 2^exponent`, (..., n), smallest first.

    Each lies within `error` of the truth (module docstring); `trace` (...) is `||A / 2^exponent||_F^2` to rounding.
    """

    values: Tensor
    trace: Tensor
    error: float
    exponent: int

    def norm_sandwich(self) -> tuple[float, float]:
        """`lower <= max over the batch of sigma_max <= upper`."""
        largest = float(self.values[..., -1].max())
        low, high = sqrt(max(0.0, largest - self.error)), sqrt(max(0.0, largest) + self.error)
        return scaled_back(below(low, 4), above(high, 4), self.exponent)


def gram_values(matrix: Tensor) -> GramValues:
    """All squared singular values of float64 matrices (..., m, n) with entries, by one eigenproblem of the short side.

    Raises:
        ModelError: an entry is NaN or infinite.
    """
    exponent = 0
    a = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    gram = _lower_gram(a)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    if not _TAME[0] ** 2 < float(trace.max()) < _TAME[1] ** 2:  # squares left float64's range, or could have; or NaN
        scaled, exponent = unit_scaled(matrix)
        a = scaled if scaled.shape[-2] <= scaled.shape[-1] else scaled.mT
        gram = _lower_gram(a)
        trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    n, k = a.shape[-2:]
    values = torch.linalg.eigvalsh(gram)  # reads the lower half only
    largest = max(0.0, float(values[..., -1].max()))
    size = above(float(trace.max()), n + k + 4)
    if 2 * gamma(k + 2) * size > 0.5 * EXACT * largest:  # worth a pass: the sums can be much smaller than the trace
        magnitude = a.abs()
        product = magnitude.sum(-1).amax(-1) * magnitude.sum(-2).amax(-1)
        size = min(size, above(float(product.max()), n + k + 4))
    return GramValues(values, trace, 2 * gamma(k + 2) * size + 16 * n * UNIT * largest, exponent)


def squarable(matrix: Tensor) -> tuple[Tensor, int, float]:
    """The matrix, 0 and its Frobenius norm where squares stay well inside float64's range; else those of `unit_scaled`.

    Raises:
        ModelError: an entry is NaN or infinite.
    """
    frobenius, exponent = float(torch.linalg.vector_norm(matrix)), 0
    if not _TAME[0] < frobenius < _TAME[1]:
        matrix, exponent = unit_scaled(matrix)
        frobenius = float(torch.linalg.vector_norm(matrix))
    return matrix, exponent, frobenius


def _lower_gram(a: Tensor) -> Tensor:
    """`a a^T` for (..., n, k); of large ones only the lower half, block row by block row, and zeros elsewhere."""
    n = a.shape[-2]
    if a.dim() > 2 or n < _BLOCKED:
        return a @ a.mT
    gram = a.new_zeros(n, n)
    step = -(-n // _BLOCKS)
    for start in range(0, n, step):
        stop = min(start + step, n)
        torch.mm(a[start:stop], a[:stop].T, out=gram[start:stop, :stop])
    return gram


def gram_sandwich(matrix: Tensor) -> tuple[float, float]:
    """`lower <= max over the batch of sigma_max <= upper` for float64 matrices (..., m, n), by the short side's Gram.

    Raises:
        ModelError: an entry is NaN or infinite.
    """
    return (0.0, 0.0) if matrix.numel() == 0 else gram_values(matrix.to(torch.float64)).norm_sandwich()


def gram_norm(matrix: Tensor) -> float:
    """An upper bound of `||matrix||_2` that covers rounding; the upper side of `gram_sandwich`."""
    return gram_sandwich(matrix)[1]

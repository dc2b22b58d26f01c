"""(q, k, epsilon)-compressibility of a vector and the spread of its dominant terms (theory section 2).

Source: Barsbey, Ribeiro, Simsekli, Birdal, ICLR 2026 (arXiv 2507.17725), definition of (q, k, epsilon)-compressibility;
`beta_mean` is ours. Legend: t a vector of any sign and length n, |t|_(1) >= |t|_(2) >= ... its sorted magnitudes. Every
number here is the same for `c t`, c != 0. Ties change nothing: only magnitudes are summed.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from brittle.errors import UsageError


def count(fraction: float, length: int) -> int:
    """`k = ceil(fraction * length)`, at least 1 and at most `length`.

    Raises:
        UsageError: a fraction outside (0, 1], or a length below 1.
    """
    if not 0 < fraction <= 1 or length < 1:
        raise UsageError(f"k needs a fraction in (0, 1] of a length >= 1, got {fraction!r} of {length}")
    # 0.07 * 100 is 7.000000000000001 in float64: it means 7.
    return min(length, max(1, ceil(fraction * length - 1e-9)))


def residuals(t: Tensor, q: float = 1.0) -> Tensor:
    """`||t - t_k||_q / ||t||_q` for k = 0 ... n, (n + 1,) float64, falling from 1 to 0; all 0 for a zero vector.

    Raises:
        UsageError: an empty vector, NaN or infinity in it, or q not positive.
    """
    powers = _sorted(t)
    if not q > 0:
        raise UsageError(f"a residual needs a positive exponent q, got {q!r}")
    # Smallest first, so that the tail of a steep vector keeps its digits.
    tail = (powers**q).flip(0).cumsum(0).flip(0)
    tail = torch.cat([tail, tail.new_zeros(1)])
    return torch.zeros_like(tail) if tail[0] == 0 else (tail / tail[0]) ** (1.0 / q)


def residual(t: Tensor, k: int, q: float = 1.0) -> float:
    """`epsilon_{q,k}(t) = ||t - t_k||_q / ||t||_q`, t_k the k largest magnitudes; 0 for k >= n and for t = 0.

    Raises:
        UsageError: as `residuals`, or k < 0.
    """
    if k < 0:
        raise UsageError(f"a residual needs k >= 0 terms kept, got {k}")
    return float(residuals(t, q)[min(k, t.numel())])


def smallest_k(t: Tensor, tolerance: float, q: float = 1.0) -> int:
    """The smallest k with `epsilon_{q,k}(t) <= tolerance`: 0 for a zero vector or a tolerance of 1, else at least 1.

    Raises:
        UsageError: as `residuals`, or a tolerance outside [0, 1].
    """
    if not 0 <= tolerance <= 1:
        raise UsageError(f"a residual's tolerance is a fraction in [0, 1], got {tolerance!r}")
    return int((residuals(t, q) <= tolerance).to(torch.uint8).argmax())


def beta(t: Tensor, k: int) -> float:
    """`1 - |t|_(k) / |t|_(1)`, in [0, 1]; 0 for a zero vector.

    Raises:
        UsageError: an empty vector, NaN or infinity in it, or k outside 1 ... n.
    """
    top = _top(t, k)
    return 0.0 if top[0] == 0 else float(1 - top[-1] / top[0])


def beta_mean(t: Tensor, k: int) -> float:
    """`1 - mean(|t|_(1..k)) / |t|_(1)`, at most `beta`; 0 for a zero vector.

    With it Theorem 3.1's first factor is exact: `|t|_(1) = (1 - epsilon_{1,k}) / (k (1 - beta_mean)) * ||t||_1`.

    Raises:
        UsageError: as `beta`.
    """
    top = _top(t, k)
    return 0.0 if top[0] == 0 else max(0.0, float(1 - (top / top[0]).mean()))


def _top(t: Tensor, k: int) -> Tensor:
    ordered = _sorted(t)
    if not 1 <= k <= len(ordered):
        raise UsageError(f"k must lie between 1 and the vector's length {len(ordered)}, got {k}")
    return ordered[:k]


def _sorted(t: Tensor) -> Tensor:
    """Magnitudes from the largest down, over the largest: (n,) float64."""
    if t.numel() == 0 or not bool(torch.isfinite(t).all()):
        raise UsageError(
            f"compressibility needs a vector of finite numbers, got shape {tuple(t.shape)} with NaN or nothing"
        )
    magnitude = t.detach().to(torch.float64).flatten().abs().sort(descending=True).values
    return magnitude if magnitude[0] == 0 else magnitude / magnitude[0]

"""Interlayer alignment: how much of two layers' norms survives the activation between them (Theorem 3.2).

    A_p = max_D ||A D B||_p / (m ||A||_p ||B||_p)  in [0, 1],   m = max(|low|, |high|)

D diagonal with the activation's slopes, [low, high] = [0, 1] for ReLU; A (m x h) the outer layer, B (h x n) the inner
one. The norm is convex in D, so D's entries are low or high at the maximum: a hard combinatorial problem. Three kinds
of answers are kept apart: exact (all 2^h choices), from below (ascent), from above (loop transformation).
Source: Barsbey et al., ICLR 2026 (arXiv 2507.17725), Theorem 3.2; upper bounds ours and Fazlyab et al. 2023 (LipLT).
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.bounds.alignment_search import ascend
from brittle.bounds.diagonal_scaling import scaled_product
from brittle.errors import UsageError
from brittle.operators.activations import Slopes
from brittle.operators.linear import DenseView
from brittle.operators.norms import OPERATOR_NORMS
from brittle.operators.rounding import EXACT, above, below, gamma, gram_norm, gram_sandwich
from brittle.results.encoder import Alignment

RELU = Slopes(0.0, 1.0)
# The widest hidden layer that is enumerated: 65,536 choices of D.
MAX_WIDTH = 16
# Multiply-adds up to which `alignment` enumerates without being asked.
_MAX_WORK = 1e9
_CHUNK_ENTRIES = 2**21


def alignment(outer: Tensor, inner: Tensor, norm: str, *, slopes: Slopes = RELU, names: tuple[str, str]) -> Alignment:
    """A_p of matrices (m, h) and (h, n) as a sandwich: exact where enumeration is cheap, else ascent and loop bound.

    `names` are the outer and the inner layer's.

    Raises:
        UsageError: matrices that do not fit, a zero layer, an unknown norm.
    """
    a, b = checked_pair(outer, inner, norm)
    if enumerable(a, b):
        low, high = exact_alignment(a, b, norm, slopes=slopes)
    else:
        low, high = lower_alignment(a, b, norm, slopes=slopes), upper_alignment(a, b, norm, slopes=slopes)
    low = min(low, high)
    return Alignment(*names, norm, high, "exact" if high - low <= EXACT * high else "upper_bound", low)


def exact_alignment(outer: Tensor, inner: Tensor, norm: str, *, slopes: Slopes = RELU) -> tuple[float, float]:
    """A_p by trying every D: two numbers around the truth that differ by rounding only.

    Raises:
        UsageError: as `alignment`, or more than 16 hidden units that reach both layers.
    """
    a, b = checked_pair(outer, inner, norm)
    smallest, largest = denominator(a, b, norm, slopes)
    width = _alive(a, b)[0].shape[1]
    if width > MAX_WIDTH:
        raise UsageError(
            f"exact alignment tries 2^h slopes and takes h <= {MAX_WIDTH} units, got {width}: use the bounds"
        )
    low, high = exact_numerator(a, b, norm, slopes)
    return low / largest, min(1.0, high / smallest)


def lower_alignment(outer: Tensor, inner: Tensor, norm: str, *, slopes: Slopes = RELU, seed: int = 0) -> float:
    """A lower bound of A_p by alternating ascent over D and the perturbation (after SeqLip, Virmaux & Scaman 2018).

    Raises:
        UsageError: as `alignment`.
    """
    a, b = checked_pair(outer, inner, norm)
    _, largest = denominator(a, b, norm, slopes)
    a, b = _alive(a, b)
    if a.shape[1] == 0:
        return 0.0
    best = ascend(a, b, norm, slopes, seed)
    return max(0.0, below(best, a.shape[1] + b.shape[1]) - _rounding(a, b, slopes)) / largest


def upper_alignment(outer: Tensor, inner: Tensor, norm: str, *, slopes: Slopes = RELU) -> float:
    """An upper bound of A_p, rounding included, at most 1.

    With `D = c I + r S`, |S| <= 1 (c the middle of the slopes, r half their range):
    l_inf: `max_i (|c| |A B|_i 1 + r |A|_i (|B| 1))`; l_2: `|c| ||A B|| + r min_{T > 0 diagonal} ||A T|| ||T^-1 B||`.

    Raises:
        UsageError: as `alignment`.
    """
    a, b = checked_pair(outer, inner, norm)
    smallest, _ = denominator(a, b, norm, slopes)
    return min(1.0, upper_numerator(a, b, norm, slopes) / smallest)


def enumerable(a: Tensor, b: Tensor) -> bool:
    """Whether trying every D is allowed and quick."""
    width = _alive(a, b)[0].shape[1]
    return width <= MAX_WIDTH and 2.0**width * a.numel() * b.shape[1] <= _MAX_WORK


def exact_numerator(a: Tensor, b: Tensor, norm: str, slopes: Slopes) -> tuple[float, float]:
    """`max_D ||A D B||_p` over all D with entries low and high, from below and above."""
    a, b = _alive(a, b)
    h = a.shape[1]
    if h == 0:
        return 0.0, 0.0
    bits = (torch.arange(2**h)[:, None] >> torch.arange(h)) & 1
    d = slopes.low + (slopes.high - slopes.low) * bits.to(torch.float64)
    low, high = _TRIED[norm](a, b, d)
    slack = _rounding(a, b, slopes)
    return max(0.0, low - slack), high + slack


def upper_numerator(a: Tensor, b: Tensor, norm: str, slopes: Slopes) -> float:
    """The loop transformation's bound on `max_D ||A D B||_p`."""
    a, b = _alive(a, b)
    if a.shape[1] == 0:
        return 0.0
    center, radius = abs(slopes.low + slopes.high) / 2, (slopes.high - slopes.low) / 2
    if norm == "linf":
        rows = center * (a @ b).abs().sum(1) + radius * (a.abs() @ b.abs().sum(1))
        value = above(float(rows.max()), a.shape[1] + b.shape[1] + 4)
    else:
        value = above(center * gram_norm(a @ b) + radius * scaled_product(a, b), 4)
    return value + _rounding(a, b, slopes)


def norm_sides(matrix: Tensor, norm: str) -> tuple[float, float]:
    """`lower <= ||matrix||_p <= upper`."""
    bound = OPERATOR_NORMS[norm](DenseView(matrix))
    return bound.lower, bound.value


def _rounding(a: Tensor, b: Tensor, slopes: Slopes) -> float:
    """A bound on what rounding in `A D B` can change of its norm: entrywise gamma(h) |A||D||B|, Frobenius."""
    steepest = max(abs(slopes.low), abs(slopes.high))
    wide = max(1.0, b.shape[1]) ** 0.5  # ||.||_inf <= sqrt(n) ||.||_F
    return 2 * gamma(a.shape[1] + 4) * steepest * wide * float(a.norm()) * float(b.norm())


def denominator(a: Tensor, b: Tensor, norm: str, slopes: Slopes) -> tuple[float, float]:
    """`m ||A|| ||B||` from below and above; UsageError where it is 0."""
    steepest = max(abs(slopes.low), abs(slopes.high))
    sides = [norm_sides(matrix, norm) for matrix in (a, b)]
    if steepest == 0 or min(low for low, _ in sides) <= 0:
        raise UsageError("alignment is undefined for a zero layer or a constant activation: leave this pair out")
    return (below(sides[0][0] * sides[1][0] * steepest, 2), above(sides[0][1] * sides[1][1] * steepest, 2))


def _alive(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Without hidden units that nothing reaches or nobody reads."""
    units = (a != 0).any(0) & (b != 0).any(1)
    return a[:, units], b[units]


def checked_pair(outer: Tensor, inner: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """Both in float64; UsageError for an unknown norm or shapes that do not fit."""
    if norm not in OPERATOR_NORMS:
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(OPERATOR_NORMS)}")
    if outer.dim() != 2 or inner.dim() != 2 or outer.shape[1] != inner.shape[0]:
        raise UsageError(
            f"alignment needs an outer matrix (m, h) and an inner one (h, n), got {tuple(outer.shape)} and "
            f"{tuple(inner.shape)}"
        )
    return outer.detach().to(torch.float64), inner.detach().to(torch.float64)


def _tried_linf(a: Tensor, b: Tensor, d: Tensor) -> tuple[float, float]:
    best = 0.0
    for part in d.split(max(1, _CHUNK_ENTRIES // b.shape[1])):
        best = max(best, *(float(((part * row) @ b).abs().sum(1).max()) for row in a))
    return below(best, b.shape[1]), above(best, b.shape[1])


def _tried_l2(a: Tensor, b: Tensor, d: Tensor) -> tuple[float, float]:
    # Orthogonal factors on the outside change no singular value; what their rounding adds is below 1e-12.
    a = torch.linalg.qr(a).R if a.shape[0] > a.shape[1] else a
    b = torch.linalg.qr(b.T).R.T if b.shape[1] > b.shape[0] else b
    sides = [
        gram_sandwich(a * part[:, None, :] @ b) for part in d.split(max(1, _CHUNK_ENTRIES // (a.numel() + b.numel())))
    ]
    return max(low for low, _ in sides) * (1 - 1e-12), max(high for _, high in sides) * (1 + 1e-12)


_TRIED = {"linf": _tried_linf, "l2": _tried_l2}

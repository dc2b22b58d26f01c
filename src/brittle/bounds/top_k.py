"""Alignment through the dominant part of each layer: the paper's form of Theorem 3.2, with an explicit remainder.

With `A = A_k + A_r` and `B = B_k + B_r`, X_k what k dominant terms leave of a layer,

    ||A D B|| <= ||A_k D B_k|| + m ||A_k|| ||B_r|| + m ||A_r|| ||B||       for every D, m its steepest slope,

so `A_p <= (max_D ||A_k D B_k|| + R_p) / (m ||A|| ||B||)`, and R_p goes to 0 with the layers' residuals eps: the more
compressible the layers are, the more their dominant parts alone decide. l_inf keeps the k rows of largest l_1 norm, l_2
the k leading singular triples. Source: the form is Barsbey et al., Theorem 3.2; this remainder is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.bounds.alignment import (
    RELU,
    checked_pair,
    denominator,
    enumerable,
    exact_numerator,
    norm_sides,
    upper_numerator,
)
from brittle.errors import UsageError
from brittle.operators.activations import Slopes
from brittle.operators.rounding import UNIT, above


@dataclass(frozen=True)
class TopK:
    """`A_p <= value = min(1, main + remainder)`; both parts are relative to `m ||A||_p ||B||_p`."""

    k: int
    main: float
    remainder: float
    value: float


def top_k_alignment(outer: Tensor, inner: Tensor, k: int, norm: str, *, slopes: Slopes = RELU) -> TopK:
    """The dominant parts' alignment, by enumeration or else the loop transformation, and the remainder R_p.

    Raises:
        UsageError: as `alignment`, or k < 1.
    """
    if k < 1:
        raise UsageError(f"a dominant part needs k >= 1 rows or singular values, got {k}")
    a, b = checked_pair(outer, inner, norm)
    smallest, _ = denominator(a, b, norm, slopes)
    steepest = max(abs(slopes.low), abs(slopes.high))
    kept_a, kept_b = (_dominant(matrix, k, norm) for matrix in (a, b))
    # each entry of the differences is rounded once (for l_inf not at all: rows are kept or dropped whole)
    left = [norm_sides(m - kept, norm)[1] + 4 * UNIT * float(m.norm()) for m, kept in ((a, kept_a), (b, kept_b))]
    remainder = above(steepest * (norm_sides(kept_a, norm)[1] * left[1] + left[0] * norm_sides(b, norm)[1]), 6)
    if enumerable(kept_a, kept_b):
        main = exact_numerator(kept_a, kept_b, norm, slopes)[1] / smallest
    else:
        main = upper_numerator(kept_a, kept_b, norm, slopes) / smallest
    remainder /= smallest
    return TopK(k, main, remainder, min(1.0, above(main + remainder)))


def _dominant(matrix: Tensor, k: int, norm: str) -> Tensor:
    if norm == "linf":
        kept = torch.zeros_like(matrix)
        rows = matrix.abs().sum(1).topk(min(k, len(matrix))).indices
        kept[rows] = matrix[rows]
        return kept
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :k] * s[:k]) @ vt[:k]

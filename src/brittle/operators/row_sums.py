"""Norms that are row and column sums: exact for l_inf, and a quick upper bound for l_2."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from brittle.operators.rounding import above, below, norm_bound
from brittle.operators.view import LinearView
from brittle.results.layer import NormBound


def row_sums(view: LinearView) -> Tensor:
    """`|T| 1`, one sum for each output: (*out_shape)."""
    return view.abs_apply(torch.ones(1, *view.in_shape, dtype=torch.float64))[0]


def column_sums(view: LinearView) -> Tensor:
    """`|T|^t 1`, one sum for each input: (*in_shape)."""
    return view.abs_adjoint(torch.ones(1, *view.out_shape, dtype=torch.float64))[0]


def row_sum_norm(view: LinearView) -> NormBound:
    """`||T||_inf = max_i sum_j |T_ij|` with rounding margins, for views whose |T| is known entry by entry."""
    largest = _largest(row_sums(view))
    return norm_bound(below(largest, view.terms), above(largest, view.terms))


def mixed_norm(view: LinearView) -> float:
    """`sqrt(||T||_1 ||T||_inf) >= ||T||_2` (Schur's test), with rounding margins."""
    rows, columns = _largest(row_sums(view)), _largest(column_sums(view))
    # Two square roots: the product of the sums can leave float64's range where its root does not.
    return above(sqrt(rows) * sqrt(columns), 2 * view.terms + 4)


def _largest(sums: Tensor) -> float:
    return float(sums.max()) if sums.numel() else 0.0

"""Combinations of logits: single ones, and the differences of each pair of classes. Legend: K classes, r rows."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.bounds.dense_chain import DenseMap
from brittle.operators.rounding import gamma


def pair_rows(classes: int) -> Tensor:
    """`e_j - e_k` for all j < k, in the order of `torch.triu_indices`: (K (K - 1) / 2, K)."""
    j, k = torch.triu_indices(classes, classes, offset=1)
    rows = torch.zeros(len(j), classes, dtype=torch.float64)
    rows[torch.arange(len(j)), j] = 1.0
    rows[torch.arange(len(j)), k] = -1.0
    return rows


def pair_table(classes: int, values: Tensor) -> Tensor:
    """One value for each of `pair_rows`, as a symmetric (K, K) table with a zero diagonal."""
    table = torch.zeros(classes, classes, dtype=torch.float64)
    j, k = torch.triu_indices(classes, classes, offset=1)
    table[j, k] = values
    return table + table.T


def combined(rows: Tensor, last: DenseMap) -> DenseMap:
    """`rows @ W_n`, (r, h), with its rounding; exact for rows with one 1 and zeros."""
    matrix = rows @ last.matrix
    single = bool(((rows != 0).sum(1) <= 1).all()) and bool(((rows == 0) | (rows.abs() == 1)).all())
    if single and last.slack is None:
        return DenseMap(matrix, None)
    # Zero entries add nothing: a row of r numbers rounds as a sum of r terms.
    terms = int((rows != 0).sum(1).max()) if rows.numel() else 0
    error = rows.abs() @ last.errors() * (1 + 1e-9) + gamma(terms + 1) * (rows.abs() @ last.matrix.abs())
    return DenseMap(matrix, error)

"""One pass over a matrix: the rows' l_1 norms, the Frobenius norm, and whether all entries are finite."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, sqrt

import torch
from torch import Tensor

from brittle.checkpoints.reading import Reader

# Squares of larger or smaller entries could leave float64's range when they are summed.
_LARGE, _SMALL = 2.0**400, 2.0**-400


@dataclass(frozen=True)
class RowPass:
    """`norms` are nu (h,), of rows that are outputs; `finite` is False where an entry is NaN or infinite."""

    norms: Tensor
    frobenius: float
    finite: bool


def row_pass(reader: Reader, *, transposed: bool) -> RowPass:
    """Read every entry once (twice where entries are extreme; `reader.factor` is then set so that squares fit).

    All sums are of non-negative float64 numbers: exact up to rounding.
    """
    norms, squares, largest = _sums(reader, transposed=transposed)
    if not bool(torch.isfinite(norms).all()) or not largest < float("inf"):
        return RowPass(norms, 0.0, finite=False)
    if largest > 0 and not _SMALL < largest < _LARGE:
        reader.factor = 2.0 ** -frexp(largest)[1] if largest > 1 else 2.0 ** min(1000, -frexp(largest)[1])
        squares = _sums(reader, transposed=transposed)[1]
    return RowPass(norms, sqrt(squares) / reader.factor, finite=True)


def _sums(reader: Reader, *, transposed: bool) -> tuple[Tensor, float, float]:
    """Row sums of magnitudes (column sums with `transposed`), the sum of squares, the largest magnitude."""
    length = reader.sides[1] if transposed else reader.sides[0]
    norms = torch.zeros(length, dtype=torch.float64)
    squares, largest = 0.0, 0.0
    for start, end in reader.rows():
        magnitude = reader.block((start, end)).abs_()
        if transposed:
            norms += magnitude.sum(0)
        else:
            norms[start:end] = magnitude.sum(1)
        block = float(magnitude.max())
        if not block < float("inf"):  # NaN as well
            return norms, squares, float("inf")
        largest = max(largest, block)
        squares += float(magnitude.square_().sum())
    return norms, squares, largest

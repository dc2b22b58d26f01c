"""A matrix in blocks of float64: its file is mapped, and only the block asked for is ever converted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from brittle.checkpoints.files import opened
from brittle.checkpoints.plan import Matrix

# Entries of one block: 2 MiB in float64, which stays in a processor's cache while it is used.
BLOCK_ENTRIES = 2**18


class Reader:
    """Blocks of one matrix as stored, times `factor` (a power of two that keeps squares of extreme weights finite)."""

    def __init__(self, codes: Tensor, matrix: Matrix, scale: Tensor | None) -> None:
        self._codes = codes
        self._scale = scale
        self._matrix = matrix
        start = 0 if matrix.part.outputs is None else matrix.part.outputs[0]
        # Where this matrix begins in its tensor, which the scale is for.
        self._origin = (0, start) if matrix.part.transposed else (start, 0)
        self.factor = 1.0
        self.sides = matrix.sides

    def block(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Tensor:
        """Entries [rows) x [columns) in float64, a copy; all columns where none are named."""
        first, last = columns or (0, self.sides[1])
        # a copy even of float64: callers work in place, and the file must not change
        part = self._codes[rows[0] : rows[1], first:last].to(torch.float64, copy=True)
        if self._matrix.scale is not None and self._scale is not None:
            row, column = self._origin
            part = self._matrix.scale.times(part, self._scale, row + rows[0], column + first)
        return part if self.factor == 1.0 else part * self.factor

    def rows(self, entries: int = BLOCK_ENTRIES) -> Iterator[tuple[int, int]]:
        """Ranges of rows whose blocks have at most `entries` entries (one row at least)."""
        yield from _ranges(self.sides[0], max(1, entries // self.sides[1]))

    def columns(self, entries: int = BLOCK_ENTRIES) -> Iterator[tuple[int, int]]:
        """The same for columns."""
        yield from _ranges(self.sides[1], max(1, entries // self.sides[0]))


@contextmanager
def reading(matrix: Matrix) -> Iterator[Reader]:
    """Map the matrix's file; when the block ends its pages are given back.

    Raises:
        ModelError: the file is missing or broken.
    """
    with opened(matrix.stored.file) as file:
        codes = file.get_tensor(matrix.stored.name)
        if matrix.part.index is not None:
            codes = codes[matrix.part.index]
        codes = codes.flatten(1)
        if matrix.part.outputs is not None:
            start, end = matrix.part.outputs
            codes = codes[:, start:end] if matrix.part.transposed else codes[start:end]
        scale = None if matrix.scale is None else _whole(matrix)
        yield Reader(codes, matrix, scale)


def _whole(matrix: Matrix) -> Tensor:
    assert matrix.scale is not None
    with opened(matrix.scale.stored.file) as file:
        scale: Tensor = file.get_tensor(matrix.scale.stored.name).to(torch.float64)
    return scale


def _ranges(length: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, step):
        yield start, min(length, start + step)

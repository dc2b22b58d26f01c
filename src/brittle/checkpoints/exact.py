"""All singular values of a matrix that is read in blocks. Legend: n the short side, W as stored."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.checkpoints.reading import Reader
from brittle.compressibility.rank import singular_values

# Up to this many entries (128 MiB in float64) a matrix is held whole.
WHOLE_ENTRIES = 2**24
# Entries of a block for the Gram matrix: large enough for full speed, 32 MiB.
GRAM_ENTRIES = 2**22


def all_singular_values(reader: Reader) -> Tensor:
    """sigma, largest first, (n,) float64: of the whole matrix, or by the Gram matrix of its short side in blocks.

    A matrix of more than `WHOLE_ENTRIES` never lies in memory whole; its values below some 1e-8 sigma_1 drown in
    rounding (they come out between 0 and that).
    """
    rows, columns = reader.sides
    if rows * columns <= WHOLE_ENTRIES:
        sigma = singular_values(reader.block((0, rows)))
    else:
        sigma = torch.linalg.eigvalsh(gram(reader)).clamp_min_(0).sqrt_().flip(0)
    return sigma / reader.factor


def gram(reader: Reader) -> Tensor:
    """`W^T W` or `W W^T`, whichever is smaller, (n, n) float64, summed over blocks of the long side."""
    rows, columns = reader.sides
    total = torch.zeros((min(rows, columns),) * 2, dtype=torch.float64)
    if columns <= rows:
        for span in reader.rows(GRAM_ENTRIES):
            block = reader.block(span)
            total.addmm_(block.T, block)
    else:
        for span in reader.columns(GRAM_ENTRIES):
            block = reader.block((0, rows), span)
            total.addmm_(block, block.T)
    return total

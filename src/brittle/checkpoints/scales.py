"""Scales of eight-bit weights: found beside them by name, and taken only where their shape leaves no doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.checkpoints.files import Stored
from brittle.checkpoints.formats import CODES, FLOATS


@dataclass(frozen=True)
class Scale:
    """`weight[i, j] = code[i, j] * factor * scale[i // block[0], j // block[1]]`; `grid` is the scale's shape."""

    stored: Stored
    factor: float
    grid: tuple[int, int]
    block: tuple[int, int]

    def times(self, codes: Tensor, scale: Tensor, row: int, column: int) -> Tensor:
        """The weights of a block of codes (float64) that starts at (row, column); `scale` is the whole grid."""
        rows = torch.arange(row, row + codes.shape[0]) // self.block[0]
        columns = torch.arange(column, column + codes.shape[1]) // self.block[1]
        return codes * (self.factor * scale.view(self.grid)[rows][:, columns])


@dataclass(frozen=True)
class _Convention:
    """How a library names the codes and their scale; `side` is that of its square blocks where it has such."""

    codes: str
    scale: str
    factor: float
    side: int | None


# compressed-tensors and ModelOpt; DeepSeek (blocks of 128 x 128); ComfyUI; bitsandbytes (largest magnitude of each
# row, codes to 127); quanto.
_CONVENTIONS = (
    _Convention(".weight", ".weight_scale", 1.0, None),
    _Convention(".weight", ".weight_scale_inv", 1.0, 128),
    _Convention(".weight", ".scale_weight", 1.0, None),
    _Convention(".weight", ".SCB", 1.0 / 127.0, None),
    _Convention(".weight._data", ".weight._scale", 1.0, None),
)
_ZERO_POINTS = ("_zero_point", "_zero_points", "._shift")


def find_scale(codes: Stored, tensors: Mapping[str, Stored]) -> Scale | None:
    """The scale of a matrix of codes; None where none is known, or where codes are shifted by a zero point."""
    if codes.dtype not in CODES or len(codes.shape) != 2:
        return None
    for convention in _CONVENTIONS:
        if not codes.name.endswith(convention.codes):
            continue
        module = codes.name.removesuffix(convention.codes)
        stored = tensors.get(module + convention.scale)
        shifted = any(f"{module}.weight{ending}" in tensors for ending in _ZERO_POINTS)
        if stored is None or stored.dtype not in FLOATS or shifted:
            continue
        found = _fit(codes.shape, stored.shape, convention.side)
        if found is not None:
            return Scale(stored, convention.factor, *found)
    return None


def _fit(
    shape: tuple[int, ...], scale: tuple[int, ...], side: int | None
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The scale's grid and the block that one entry covers; None where the shapes leave a doubt."""
    if len(scale) > 2:
        return None
    rows, columns = (*scale, 1, 1)[:2]
    blocks = (_block(shape[0], rows, side), _block(shape[1], columns, side))
    return None if None in blocks else ((rows, columns), (blocks[0] or 1, blocks[1] or 1))


def _block(length: int, entries: int, side: int | None) -> int | None:
    if entries == 1:
        return max(1, length)
    if side is not None and -(-length // side) == entries:
        return side
    return length // entries if length % entries == 0 else None

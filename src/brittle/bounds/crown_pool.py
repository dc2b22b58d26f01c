"""Linear bounds of max pooling: from below one element of each window, from above that element or a constant.

Below: the element with the largest lower bound. Above: the same element where its lower bound reaches every other
element's upper bound (the pooling then only copies it), else the largest upper bound. No arithmetic, so no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.operators.graph import MaxPool


@dataclass(frozen=True)
class PoolLines:
    """Per output (b, c, h' w'): `chosen` its element (flat in h w), `copies` where exact, `top` the constant."""

    chosen: Tensor
    copies: Tensor
    top: Tensor
    in_shape: tuple[int, ...]

    def pull(self, rows: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Minimise `<rows, pooled>`: rows (r, c, h', w') -> rows on the input (r, c, h, w), constants (r,)."""
        flat = rows.flatten(2)
        copied = (flat > 0) | self.copies[owner]
        below = rows.new_zeros(len(rows), self.in_shape[0], self.in_shape[1] * self.in_shape[2])
        below = below.scatter_add(2, self.chosen[owner], torch.where(copied, flat, 0.0))
        constant = torch.where(copied, 0.0, flat * self.top[owner]).flatten(1).sum(1)
        return below.view(-1, *self.in_shape), constant


def pool_lines(op: MaxPool, shape: tuple[int, ...], lower: Tensor, upper: Tensor) -> PoolLines:
    """Bounds for an input of `shape` (c, h, w) in [lower, upper], (b, c, h, w) each."""
    elements = _windows(op, (shape[1], shape[2]), tuple(op.apply(lower[:1]).shape[-2:]))
    inside = elements >= 0
    places = elements.clamp(min=0)
    lows = torch.where(inside, lower.flatten(2)[:, :, places], -torch.inf)
    highs = torch.where(inside, upper.flatten(2)[:, :, places], -torch.inf)
    best = lows.argmax(-1, keepdim=True)
    others = highs.scatter(-1, best, -torch.inf).amax(-1)
    chosen = places.expand_as(lows).gather(-1, best)[..., 0]
    copies = lows.gather(-1, best)[..., 0] >= others
    return PoolLines(chosen, copies, highs.amax(-1), shape)


def _windows(op: MaxPool, size: tuple[int, int], out: tuple[int, ...]) -> Tensor:
    """The elements of every window, (h' w', taps), flat in h w; -1 where a tap is outside."""
    axes = []
    for n, k, s, p, d, m in zip(size, op.kernel, op.stride, op.padding, op.dilation, out, strict=True):
        positions = torch.arange(m)[:, None] * s - p + torch.arange(k)[None, :] * d
        axes.append(torch.where((positions >= 0) & (positions < n), positions, -1))
    rows, columns = axes[0][:, None, :, None], axes[1][None, :, None, :]
    flat = torch.where((rows >= 0) & (columns >= 0), rows * size[1] + columns, -1)
    return flat.reshape(out[0] * out[1], -1)

"""One axis of a convolution: which input pixel each tap of each window meets, and the ring that contains it all.

Legend, per axis: n input pixels, k taps, m windows; window a, tap u reads position `a * stride + u * dilation - left`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """Geometry along one axis; `mode` is torch's padding mode."""

    n: int
    k: int
    stride: int
    left: int
    right: int
    dilation: int
    mode: str

    @property
    def extent(self) -> int:
        """Pixels from a window's first tap to its last, both included."""
        return self.dilation * (self.k - 1) + 1

    @property
    def windows(self) -> int:
        """m, the number of outputs."""
        return (self.n + self.left + self.right - self.extent) // self.stride + 1

    def pixels(self) -> Tensor:
        """The input pixel at each of the n + left + right padded positions; -1 for a padded zero."""
        i = torch.arange(-self.left, self.n + self.right)
        if self.mode == "circular":
            return i % self.n
        if self.mode == "replicate":
            return i.clamp(0, self.n - 1)
        if self.mode == "reflect":
            inside = i.abs()
            return torch.where(inside < self.n, inside, 2 * (self.n - 1) - inside)
        return torch.where((i >= 0) & (i < self.n), i, -1)

    def reads(self) -> Tensor:
        """The pixel under each tap of each window, (m, k)."""
        taps = torch.arange(self.k) * self.dilation
        return self.pixels()[torch.arange(self.windows)[:, None] * self.stride + taps]

    def merges(self) -> list[tuple[Tensor, Tensor]]:
        """Windows grouped by which of their taps meet the same pixel.

        Each group is (the first tap that meets the same pixel, for every tap (k,); the windows of the group).
        """
        reads = self.reads()
        same = reads[:, :, None] == reads[:, None, :]
        first = same.to(torch.uint8).argmax(-1)
        patterns, group = torch.unique(first, dim=0, return_inverse=True)
        return [(pattern, torch.nonzero(group == g).flatten()) for g, pattern in enumerate(patterns)]


@dataclass(frozen=True)
class Ring:
    """A strided circular convolution that contains the padded one, up to zero rows, along one axis.

    The ring has `points * stride` positions; `taps` are the taps that meet data and `places` their positions on it.
    ||T||^2 is at most `multiplicity` times the ring's.
    """

    points: int
    stride: int
    taps: tuple[int, ...]
    places: tuple[int, ...]
    multiplicity: int


def ring(axis: Axis) -> Ring:
    """The smallest ring we know for an axis (theory section 4).

    Zero padding: taps that never meet data are dropped; on N = stride * ceil((n + max(left, overhang)) / stride) points
    no window wraps around into data, so the padded map is the ring's with inputs and (non-zero) outputs left out.
    Circular padding of a whole number of strides: the map itself is a ring, its outputs listed several times.
    Otherwise: the valid convolution of the padded input, times the square root of a pixel's largest multiplicity.
    """
    taps = tuple(range(axis.k))
    if axis.mode == "zeros":
        return _zero_padded(axis)
    if axis.mode == "circular" and axis.n % axis.stride == 0:
        points = axis.n // axis.stride
        places = tuple(u * axis.dilation % axis.n for u in taps)
        return Ring(points, axis.stride, taps, places, ceil(axis.windows / points))
    points = ceil((axis.n + axis.left + axis.right) / axis.stride)
    most = int(torch.bincount(axis.pixels()).max())
    return Ring(points, axis.stride, taps, tuple(u * axis.dilation for u in taps), most)


def _zero_padded(axis: Axis) -> Ring:
    taps = tuple(torch.nonzero((axis.reads() >= 0).any(0)).flatten().tolist())
    if len(taps) <= 1:  # one tap only copies pixels: the same at every frequency
        return Ring(1, axis.stride, taps, (0,) * len(taps), 1)
    first, last = taps[0], taps[-1]
    left = axis.left - first * axis.dilation
    extent = axis.dilation * (last - first) + 1
    overhang = max(0, (axis.windows - 1) * axis.stride - left + extent - axis.n)
    points = ceil((axis.n + max(left, overhang)) / axis.stride)
    return Ring(points, axis.stride, taps, tuple((u - first) * axis.dilation for u in taps), 1)

"""What an attack remembers per sample while it searches.

Legend: b batch; rows are positions in the batch.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Keeper(Protocol):
    """Watches every point that an attack evaluates."""

    @property
    def x(self) -> Tensor:
        """The answers (b, *shape): what an attack returns."""

    def see(self, rows: Tensor, y: Tensor, points: Tensor, logits: Tensor, values: Tensor) -> None:
        """Take note of `points` (r, *shape) for the samples `rows` (r,), with their logits and losses."""

    def wants(self, rows: Tensor) -> Tensor:
        """Which of `rows` (r,) are worth searching on, (r,) bool."""

    def open(self) -> Tensor:
        """All rows that are worth searching on, ascending."""


class FirstBreak:
    """Per sample the first misclassified point; before there is one, the point of the largest loss."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.detach().clone()
        self.value = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
        self.broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def see(self, rows: Tensor, y: Tensor, points: Tensor, logits: Tensor, values: Tensor) -> None:
        """Take the points that break their sample first, or raise its loss while it stands."""
        broken = logits.argmax(1) != y
        values = values.to(self.value)
        better = ~self.broken[rows] & (broken | (values > self.value[rows]))
        self.x[rows[better]] = points[better]
        self.value[rows[better]] = values[better]
        self.broken[rows] |= broken

    def wants(self, rows: Tensor) -> Tensor:
        """Those not misclassified yet."""
        return ~self.broken[rows]

    def open(self) -> Tensor:
        """Samples not misclassified yet."""
        return (~self.broken).nonzero()[:, 0]


class Highest:
    """Per sample the point of the largest loss, misclassified or not; no sample is ever done."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.detach().clone()
        self.value = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)

    def see(self, rows: Tensor, y: Tensor, points: Tensor, logits: Tensor, values: Tensor) -> None:
        """Take the points that raise their sample's loss."""
        values = values.to(self.value)
        better = values > self.value[rows]
        self.x[rows[better]] = points[better]
        self.value[rows[better]] = values[better]

    def wants(self, rows: Tensor) -> Tensor:
        """Every one."""
        return torch.ones_like(rows, dtype=torch.bool)

    def open(self) -> Tensor:
        """All samples."""
        return torch.arange(len(self.x), device=self.x.device)

"""Where an attack may search: checked samples, and the part of ball and box that survives rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from brittle.errors import DataError, UsageError
from brittle.threats import PIXELS, Ball, Box, inner


def check_samples(x: Tensor, y: Tensor, indices: Tensor) -> None:
    """Refuse samples an attack cannot work on.

    Expected: x (n, *shape) pixels in [0, 1], y (n,) int64 labels, indices (n,) int64 positions in the data set.

    Raises:
        UsageError: pixels that are neither float32 nor float64.
        DataError: no samples, lengths that differ, labels or indices of another type, pixels outside [0, 1] or not
            finite.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"expected float32 or float64 pixels, got {x.dtype}: convert them with x.float()")
    if x.dim() < 2 or len(x) == 0:
        raise DataError(f"expected pixels of shape (n, ...) with n >= 1, got {tuple(x.shape)}: give a batch of samples")
    if y.dtype != torch.int64 or y.shape != (len(x),):
        raise DataError(f"expected {len(x)} int64 labels, one per sample, got {y.dtype} of shape {tuple(y.shape)}")
    if indices.dtype != torch.int64 or indices.shape != (len(x),):
        raise DataError(
            f"expected {len(x)} int64 indices, one per sample, got {indices.dtype} of shape {tuple(indices.shape)}"
        )
    low, high = float(x.detach().min()), float(x.detach().max())
    if not (low >= 0.0 and high <= 1.0):  # False for NaN too
        raise DataError(f"expected pixels in [0, 1], got [{low:g}, {high:g}]: put normalisation inside the model")


def search_ball(threat: Ball, x: Tensor, box: Box = PIXELS) -> Ball:
    """The ball to search for samples x (b, *shape): points of it, added to x and rounded, stay inside `threat`.

    Raises:
        UsageError: the radius is too small for the pixels' number format.
    """
    farthest = min(max(abs(box.low), abs(box.high)), 1.0 + threat.epsilon)  # the largest |x + delta| there can be
    smaller = inner(threat, x[0].numel(), dtype=x.dtype, largest=farthest)
    if smaller.epsilon <= threat.epsilon * 0.5:  # where `inner` gives up on subtracting the rounding
        raise UsageError(
            f"epsilon {threat.epsilon:g} is too small for {str(x.dtype).removeprefix('torch.')} pixels in "
            f"{threat.norm}: use float64 or a larger one"
        )
    return smaller


class Region(Protocol):
    """The points around each centre x (b, *shape) that an attack may try."""

    @property
    def epsilon(self) -> float:
        """The radius, pixel units."""

    def project(self, x: Tensor, towards: Tensor) -> Tensor:
        """A point of the region near `towards`, both (b, *shape); a point of the region stays where it is."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """Unit steps, (b, *shape), along which a linear function with this gradient grows fastest."""


@dataclass(frozen=True)
class Room:
    """Ball and box: what every ordinary attack searches."""

    ball: Ball
    box: Box = PIXELS

    @property
    def epsilon(self) -> float:
        """The ball's radius."""
        return self.ball.epsilon

    def project(self, x: Tensor, towards: Tensor) -> Tensor:
        """Points of ball and box near `towards`: see `Ball.within`."""
        return self.ball.within(x, towards, self.box)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The ball's steepest step."""
        return self.ball.steepest(gradient)

    def full_step(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Points of ball and box one full step from x along the gradient: see `Ball.full_step`."""
        return self.ball.full_step(x, gradient, self.box)


def search_room(threat: Ball, x: Tensor, box: Box = PIXELS) -> Room:
    """The room to search for samples x (b, *shape): its points, rounded to x's number format, stay in the threat.

    Raises:
        UsageError: the radius is too small for the pixels' number format.
    """
    return Room(search_ball(threat, x, box), box)

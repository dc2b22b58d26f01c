"""The sets that local certificates bound a network on: one l_inf box or l_2 ball for each input of a batch.

Legend: b inputs, r rows (linear functionals of the pixels), owner[i] the input that row i belongs to; all float64.
Boxes are cut to the pixels' range [0, 1] and rounded outwards, so that no admissible point is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from brittle.errors import UsageError


class Region(Protocol):
    """A set of admissible inputs around each of b centres."""

    @property
    def x(self) -> Tensor:
        """The centres, (b, *shape)."""

    @property
    def lower(self) -> Tensor:
        """The smallest value of every pixel, (b, *shape)."""

    @property
    def upper(self) -> Tensor:
        """The largest value of every pixel, (b, *shape)."""

    @property
    def size(self) -> Tensor:
        """Magnitudes that `minimum` adds up, for an l_1 norm of 1: (b,)."""

    def minimum(self, rows: Tensor, owner: Tensor) -> Tensor:
        """`min <row, x>` over the region: rows (r, *shape), owner (r,) -> (r,); rounded, see `crown_backward`."""


@dataclass(frozen=True)
class Box:
    """The l_inf balls of radius `epsilon` (b,) around x, cut to [0, 1]: `[max(x - eps, 0), min(x + eps, 1)]`."""

    x: Tensor
    epsilon: Tensor

    @cached_property
    def lower(self) -> Tensor:
        """`max(x - eps, 0)`, rounded down."""
        return _cube(self.x, self.epsilon)[0]

    @cached_property
    def upper(self) -> Tensor:
        """`min(x + eps, 1)`, rounded up."""
        return _cube(self.x, self.epsilon)[1]

    @property
    def size(self) -> Tensor:
        """The largest pixel."""
        return self.upper.flatten(1).amax(1)

    def minimum(self, rows: Tensor, owner: Tensor) -> Tensor:
        """`sum_i min(a_i lower_i, a_i upper_i)`."""
        return (torch.where(rows > 0, self.lower[owner], self.upper[owner]) * rows).flatten(1).sum(1)


@dataclass(frozen=True)
class EuclideanBall:
    """The l_2 balls of radius `epsilon` (b,) around x. Linear functionals ignore the pixels' range, values do not."""

    x: Tensor
    epsilon: Tensor

    @cached_property
    def lower(self) -> Tensor:
        """`max(x - eps, 0)`, rounded down."""
        return _cube(self.x, self.epsilon)[0]

    @cached_property
    def upper(self) -> Tensor:
        """`min(x + eps, 1)`, rounded up."""
        return _cube(self.x, self.epsilon)[1]

    @property
    def size(self) -> Tensor:
        """The largest pixel of the centre, and the radius."""
        return self.x.flatten(1).amax(1) + self.epsilon

    def minimum(self, rows: Tensor, owner: Tensor) -> Tensor:
        """`<a, x> - eps ||a||_2`."""
        flat = rows.flatten(1)
        return (flat * self.x.flatten(1)[owner]).sum(1) - self.epsilon[owner] * flat.square().sum(1).sqrt()


REGIONS: dict[str, Callable[[Tensor, Tensor], Region]] = {"linf": Box, "l2": EuclideanBall}


def region(norm: str, x: Tensor, epsilon: Tensor) -> Region:
    """Balls of radii `epsilon` (b,), pixel units, in `norm` around x (b, *shape).

    Raises:
        UsageError: unknown norm, pixels outside [0, 1], or radii that are not one number >= 0 for each input.
    """
    if norm not in REGIONS:
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(REGIONS)}")
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise UsageError(
            f"expected pixels in [0, 1], got values from {float(x.min()):g} to {float(x.max()):g}: scale the data"
        )
    if tuple(epsilon.shape) != (len(x),) or not bool(((epsilon >= 0) & torch.isfinite(epsilon)).all()):
        raise UsageError(f"expected {len(x)} finite radii >= 0, one for each input, got shape {tuple(epsilon.shape)}")
    return REGIONS[norm](x.detach().cpu().double(), epsilon.detach().cpu().double())


def _cube(x: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    eps = epsilon.view(-1, *([1] * (x.dim() - 1)))
    lower = torch.nextafter(x - eps, torch.full_like(x, -torch.inf))
    upper = torch.nextafter(x + eps, torch.full_like(x, torch.inf))
    return lower.clamp(min=0.0), upper.clamp(max=1.0)

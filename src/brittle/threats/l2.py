"""The l_2 ball: Euclidean length."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad

from brittle.threats.box import Box, in_box
from brittle.threats.shape import largest, per_sample

# Coordinates that are squared and added in one go.
_BLOCK = 1024

# Lengths between this and its inverse have squares that float32 holds.
_SAFE = 1e-15


@dataclass(frozen=True)
class L2Ball:
    """`{delta : ||delta||_2 <= epsilon}`, pixel units, over all pixels and channels of an input."""

    epsilon: float

    @property
    def norm(self) -> str:
        """The norm's name."""
        return "l2"

    def length(self, delta: Tensor) -> Tensor:
        """Euclidean length; of a scaled copy where squares might vanish or overflow."""
        length = _euclidean(delta.flatten(1))
        if bool(((length > _SAFE) & (length < 1 / _SAFE)).all()):
            return length
        scale = largest(delta)
        return _euclidean((delta / scale).flatten(1)) * scale.view(-1)

    def diagonal(self, dim: int) -> float:
        """`sqrt(dim)`."""
        return sqrt(dim)

    def dual_length(self, gradient: Tensor) -> Tensor:
        """The l_2 norm is its own dual."""
        return self.length(gradient)

    def project(self, delta: Tensor) -> Tensor:
        """Scale what is too long back to the sphere."""
        length = per_sample(self.length(delta), delta)
        return delta * (self.epsilon / length.clamp_min(torch.finfo(delta.dtype).tiny)).clamp(max=1.0)

    def within(self, x: Tensor, towards: Tensor, box: Box) -> Tensor:
        """Project on the ball, then clamp to the box."""
        return in_box(x, self.project(towards - x), box)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The normalised gradient."""
        length = per_sample(self.length(gradient), gradient)
        return gradient / length.clamp_min(torch.finfo(gradient.dtype).tiny)

    def full_step(self, x: Tensor, gradient: Tensor, box: Box) -> Tensor:
        """The normalised gradient times the radius, clamped to the box."""
        return in_box(x, self.project(self.epsilon * self.steepest(gradient)), box)

    def sample(self, noise: Tensor) -> Tensor:
        """A random direction with the radius law `u^(1/d)` of the uniform ball; u is the rank of the coordinates' sum.

        One draw serves both, so radius and direction are not independent: a random start, not an exact uniform sample.
        """
        d = noise[0].numel() if len(noise) else 1
        u = torch.special.ndtr(noise.flatten(1).sum(1) / d**0.5)
        return self.sphere(noise) * per_sample(u ** (1.0 / d), noise)

    def sphere(self, noise: Tensor) -> Tensor:
        """Uniform on the sphere."""
        return self.steepest(noise) * self.epsilon


def _euclidean(rows: Tensor) -> Tensor:
    # Blocks of blocks: one long float32 sum loses one part in 10^5 at a million coordinates.
    while rows.shape[1] > _BLOCK:
        rows = pad(rows, (0, -rows.shape[1] % _BLOCK)).view(len(rows), -1, _BLOCK).norm(dim=2)
    return rows.norm(dim=1)

"""The l_1 ball: few pixels move far."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from brittle.threats.box import Box, in_box
from brittle.threats.l1_threshold import clipped_sum_threshold
from brittle.threats.shape import per_sample


@dataclass(frozen=True)
class L1Ball:
    """`{delta : sum_i |delta_i| <= epsilon}`, pixel units, over all pixels and channels of an input."""

    epsilon: float

    @property
    def norm(self) -> str:
        """The norm's name."""
        return "l1"

    def length(self, delta: Tensor) -> Tensor:
        """`sum_i |delta_i|`, added up in float64."""
        return _float64_length(delta).to(delta.dtype)

    def diagonal(self, dim: int) -> float:
        """`dim`."""
        return float(dim)

    def dual_length(self, gradient: Tensor) -> Tensor:
        """`max_i |g_i|`."""
        return gradient.flatten(1).abs().amax(1)

    def project(self, delta: Tensor) -> Tensor:
        """The nearest points: every magnitude shrinks by the same amount, not below zero (Duchi et al. 2008)."""
        return self._shrunk(delta, torch.full_like(delta, torch.inf))

    def within(self, x: Tensor, towards: Tensor, box: Box) -> Tensor:
        """The nearest points of ball and box together (Croce & Hein 2021, "Mind the box", Proposition 2.2).

        Clamping what was projected on the ball alone would leave most of the radius unused: pixels stop at the box.
        """
        delta = towards - x
        return in_box(x, self._shrunk(delta, _room(x, delta, box)), box)

    def steepest(self, gradient: Tensor) -> Tensor:
        """A unit step on the coordinate of the largest |gradient|, the first one where several are."""
        flat = gradient.flatten(1)
        first = flat.abs().argmax(1, keepdim=True) if flat.shape[1] else flat.new_zeros(len(flat), 0, dtype=torch.int64)
        return torch.zeros_like(flat).scatter(1, first, flat.gather(1, first).sign()).view_as(gradient)

    def full_step(self, x: Tensor, gradient: Tensor, box: Box) -> Tensor:
        """Coordinates in the order of their |gradient|, each to the face of the box, until the radius is spent.

        That is where a linear function is largest in ball and box: a knapsack whose items may be divided.
        """
        room = torch.where(gradient == 0, 0.0, _room(x, gradient, box)).flatten(1)
        order = gradient.flatten(1).abs().argsort(dim=1, descending=True, stable=True)
        sorted_room = room.gather(1, order).double()
        spent = sorted_room.cumsum(1).roll(1, 1)  # by the coordinates before each one
        spent[:, :1] = 0.0
        steps = torch.minimum(sorted_room, (self.epsilon - spent).clamp_min(0.0)).to(x.dtype)
        delta = torch.zeros_like(room).scatter(1, order, steps).view_as(x) * gradient.sign()
        return in_box(x, delta, box)

    def sample(self, noise: Tensor) -> Tensor:
        """A random point of the sphere with the radius law `u^(1/d)` of the uniform ball, as in `L2Ball.sample`."""
        d = noise[0].numel() if len(noise) else 1
        u = torch.special.ndtr(noise.flatten(1).sum(1) / d**0.5)
        return self.sphere(noise) * per_sample(u ** (1.0 / d), noise)

    def sphere(self, noise: Tensor) -> Tensor:
        """Uniform on the sphere: exponential magnitudes over their sum, with the noise's signs."""
        magnitude = -(torch.special.log_ndtr(-noise.abs()) + log(2.0)).clamp_max(0.0)
        length = per_sample(self.length(magnitude), noise)
        return torch.where(length > 0, self.epsilon * magnitude * noise.sign() / length, 0.0)

    def _shrunk(self, delta: Tensor, room: Tensor) -> Tensor:
        """`sign(delta) * clip(|delta| - t, 0, room)` with the smallest t >= 0 that brings the length to the radius."""
        magnitude = delta.abs()
        threshold = clipped_sum_threshold(magnitude.flatten(1), room.flatten(1), self.epsilon).to(delta.dtype)
        kept = torch.minimum((magnitude - per_sample(threshold, delta)).clamp_min_(0.0), room)
        # Rounding may leave the sum a little long; much where delta is millions of radii long.
        excess = (_float64_length(kept) / self.epsilon).clamp_min_(1.0).to(delta.dtype)
        return kept.div_(per_sample(excess, delta)).copysign_(delta)


def _room(x: Tensor, direction: Tensor, box: Box) -> Tensor:
    """How far each coordinate can go from x in its direction before it leaves the box."""
    return torch.where(direction > 0, box.high - x, x - box.low).clamp_min(0.0)


def _float64_length(delta: Tensor) -> Tensor:
    # Added up in float64: one long float32 sum loses one part in 10^5 at a million coordinates.
    return torch.linalg.vector_norm(delta.flatten(1), 1, dim=1, dtype=torch.float64)

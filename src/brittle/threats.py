"""Threat models: balls of perturbations around an input. The only file that knows norm geometry.

Legend: b batch; every tensor of perturbations is (b, ...), pixels are in [0, 1] and radii are in pixel units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from brittle.errors import UsageError

# Half a unit in the last place of a float32 pixel in [0.5, 1]: the most that storing x + delta can move a coordinate.
_HALF_ULP = 2.0**-24

# Coordinates that are squared and added in one go.
_BLOCK = 1024


class Ball(Protocol):
    """All perturbations of length at most `epsilon` in one norm."""

    @property
    def epsilon(self) -> float:
        """The radius, pixel units."""

    @property
    def norm(self) -> str:
        """The norm's name, "linf" or "l2"."""

    def length(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation: (b, ...) -> (b,)."""

    def dual_length(self, gradient: Tensor) -> Tensor:
        """Dual norm of each covector, the largest inner product with a unit perturbation: (b, ...) -> (b,)."""

    def project(self, delta: Tensor) -> Tensor:
        """The nearest perturbations inside the ball: (b, ...) -> (b, ...)."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """Unit perturbations of largest inner product with the gradient (zero where the gradient is zero)."""

    def sample(self, noise: Tensor) -> Tensor:
        """Random starting points in the ball from standard normal noise (b, ...)."""

    def sphere(self, noise: Tensor) -> Tensor:
        """Points of full length from standard normal noise: random corners for l_inf, the sphere for l_2."""


@dataclass(frozen=True)
class LinfBall:
    """`{delta : max_i |delta_i| <= epsilon}`, pixel units."""

    epsilon: float

    @property
    def norm(self) -> str:
        """The norm's name."""
        return "linf"

    def length(self, delta: Tensor) -> Tensor:
        """`max_i |delta_i|`."""
        return delta.flatten(1).abs().amax(1)

    def dual_length(self, gradient: Tensor) -> Tensor:
        """`sum_i |g_i|`."""
        return gradient.flatten(1).abs().sum(1)

    def project(self, delta: Tensor) -> Tensor:
        """Clamp every coordinate."""
        return delta.clamp(-self.epsilon, self.epsilon)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient's signs."""
        return gradient.sign()

    def sample(self, noise: Tensor) -> Tensor:
        """Uniform in the cube: the normal distribution function maps each coordinate to [0, 1]."""
        return (2 * torch.special.ndtr(noise) - 1) * self.epsilon

    def sphere(self, noise: Tensor) -> Tensor:
        """Random corners of the cube."""
        return torch.where(noise >= 0, self.epsilon, -self.epsilon).to(noise)


@dataclass(frozen=True)
class L2Ball:
    """`{delta : ||delta||_2 <= epsilon}`, pixel units, over all pixels and channels of an input."""

    epsilon: float

    @property
    def norm(self) -> str:
        """The norm's name."""
        return "l2"

    def length(self, delta: Tensor) -> Tensor:
        """Euclidean length, of a scaled copy: squares neither vanish nor overflow."""
        largest = _largest(delta)
        blocks = (delta / largest).flatten(1)
        while blocks.shape[1] > _BLOCK:  # blocks of blocks: one long float32 sum loses one part in 10^5 at a million
            blocks = pad(blocks, (0, -blocks.shape[1] % _BLOCK)).view(len(blocks), -1, _BLOCK).norm(dim=2)
        return blocks.norm(dim=1) * largest.view(-1)

    def dual_length(self, gradient: Tensor) -> Tensor:
        """The l_2 norm is its own dual."""
        return self.length(gradient)

    def project(self, delta: Tensor) -> Tensor:
        """Scale what is too long back to the sphere."""
        length = _per_sample(self.length(delta), delta)
        return delta * (self.epsilon / length.clamp_min(torch.finfo(delta.dtype).tiny)).clamp(max=1.0)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The normalised gradient."""
        length = _per_sample(self.length(gradient), gradient)
        return torch.where(length > 0, gradient / length.clamp_min(torch.finfo(gradient.dtype).tiny), 0.0)

    def sample(self, noise: Tensor) -> Tensor:
        """A random direction with the radius law `u^(1/d)` of the uniform ball; u is the rank of the coordinates' sum.

        One draw serves both, so radius and direction are not independent: a random start, not an exact uniform sample.
        """
        d = noise[0].numel() if len(noise) else 1
        u = torch.special.ndtr(noise.flatten(1).sum(1) / d**0.5)
        return self.sphere(noise) * _per_sample(u ** (1.0 / d), noise)

    def sphere(self, noise: Tensor) -> Tensor:
        """Uniform on the sphere."""
        return self.steepest(noise) * self.epsilon


BALLS: dict[str, type[LinfBall] | type[L2Ball]] = {"linf": LinfBall, "l2": L2Ball}


def ball(norm: str, epsilon: float) -> Ball:
    """The ball of radius `epsilon` (pixel units, > 0) in `norm`.

    Raises:
        UsageError: unknown norm, or a radius that is not a positive finite number.
    """
    if norm not in BALLS:
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(BALLS)}")
    if not 0 < epsilon < float("inf"):
        raise UsageError(f"epsilon must be a positive number in pixel units (pixels are in [0, 1]), got {epsilon!r}")
    return BALLS[norm](float(epsilon))


def inner(threat: Ball, dim: int) -> Ball:
    """The slightly smaller ball whose points stay inside `threat` after x + delta is rounded to float32 pixels.

    Rounding moves each of the `dim` coordinates by at most 2^-24, so l_inf shrinks by that and l_2 by sqrt(dim) times
    it, plus one part in 10^6 for the projection's own arithmetic. An attack that stays here cannot leave the ball.
    """
    slack = _HALF_ULP * (1.0 if threat.norm == "linf" else dim**0.5)
    return type(threat)(max(threat.epsilon * (1 - 1e-6) - slack, threat.epsilon * 0.5))  # type: ignore[call-arg]


@dataclass(frozen=True)
class Box:
    """Allowed pixel values `[low, high]`."""

    low: float = 0.0
    high: float = 1.0


# What images are, and a box without walls: studies ask what an attack would do if pixels had no bounds.
PIXELS = Box()
EVERYWHERE = Box(-float("inf"), float("inf"))


def in_box(x: Tensor, delta: Tensor, box: Box = PIXELS) -> Tensor:
    """`x + delta` with pixels clamped to the box. Clamping moves each coordinate towards x, so the ball is kept."""
    return (x + delta).clamp(box.low, box.high)


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude of each sample, 1 where all are zero: (b, ...) -> (b, 1, ...)."""
    largest = values.flatten(1).abs().amax(1)
    return _per_sample(torch.where(largest > 0, largest, 1.0), values)


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *([1] * (like.dim() - 1)))

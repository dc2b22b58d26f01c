"""The l_inf ball: every pixel moves a little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.threats.box import Box, in_box


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

    def diagonal(self, dim: int) -> float:
        """1, in any dimension."""
        return 1.0

    def dual_length(self, gradient: Tensor) -> Tensor:
        """`sum_i |g_i|`."""
        return gradient.flatten(1).abs().sum(1)

    def project(self, delta: Tensor) -> Tensor:
        """Clamp every coordinate."""
        return delta.clamp(-self.epsilon, self.epsilon)

    def within(self, x: Tensor, towards: Tensor, box: Box) -> Tensor:
        """The nearest points: clamp to the ball, then to the box."""
        return in_box(x, self.project(towards - x), box)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The gradient's signs."""
        return gradient.sign()

    def full_step(self, x: Tensor, gradient: Tensor, box: Box) -> Tensor:
        """The corner of ball and box that the gradient's signs point to."""
        return in_box(x, self.epsilon * gradient.sign(), box)

    def sample(self, noise: Tensor) -> Tensor:
        """Uniform in the cube: the normal distribution function maps each coordinate to [0, 1]."""
        return (2 * torch.special.ndtr(noise) - 1) * self.epsilon

    def sphere(self, noise: Tensor) -> Tensor:
        """Random corners of the cube."""
        return torch.ones_like(noise).copysign(noise) * self.epsilon

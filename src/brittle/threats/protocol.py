"""The role of a ball."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from brittle.threats.box import Box


class Ball(Protocol):
    """All perturbations of length at most `epsilon` in one norm."""

    @property
    def epsilon(self) -> float:
        """The radius, pixel units."""

    @property
    def norm(self) -> str:
        """The norm's name, "linf", "l2" or "l1"."""

    def length(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation: (b, ...) -> (b,)."""

    def diagonal(self, dim: int) -> float:
        """Length of the perturbation that is 1 in each of `dim` coordinates."""

    def dual_length(self, gradient: Tensor) -> Tensor:
        """Dual norm of each covector, the largest inner product with a unit perturbation: (b, ...) -> (b,)."""

    def project(self, delta: Tensor) -> Tensor:
        """The nearest perturbations inside the ball: (b, ...) -> (b, ...)."""

    def within(self, x: Tensor, towards: Tensor, box: Box) -> Tensor:
        """Points of the ball around x and of the box, near `towards`: (b, ...), (b, ...) -> (b, ...); x is in the box.

        The nearest points for l_inf and l_1. For l_2 the projection on the ball, then on the box: in both sets, but
        not always the nearest.
        """

    def steepest(self, gradient: Tensor) -> Tensor:
        """Unit perturbations of largest inner product with the gradient (zero where the gradient is zero)."""

    def full_step(self, x: Tensor, gradient: Tensor, box: Box) -> Tensor:
        """Points of ball and box one full step from x along the gradient: (b, ...), (b, ...) -> (b, ...).

        Where a linear function is largest for l_inf and l_1. For l_2 the normalised gradient, clamped to the box.
        """

    def sample(self, noise: Tensor) -> Tensor:
        """Random starting points in the ball from standard normal noise (b, ...)."""

    def sphere(self, noise: Tensor) -> Tensor:
        """Points of full length from standard normal noise: random corners for l_inf, the sphere for l_2 and l_1."""

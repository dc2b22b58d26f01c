"""Where the search for a universal perturbation starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.attacks.noise import sample_noise
from brittle.attacks.universal_goal import Goal
from brittle.threats import Ball


class Start(Protocol):
    """A first perturbation. Frozen: the same call gives the same answer."""

    @property
    def name(self) -> str:
        """The name reports show."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        labels: Tensor,
        goal: Goal,
        ball: Ball,
        *,
        number: int,
        seed: int,
        batch_size: int,
    ) -> Tensor:
        """A perturbation (*shape) inside the ball.

        Args:
            model: frozen; pixels (b, *shape) -> logits (b, classes).
            x: fitting pixels (n, *shape), on the device the answer shall be on.
            labels: what the goal is measured against (n,).
            goal: what is wanted of each sample.
            ball: the ball to stay in.
            number: of the restart, 0, 1, ...
            seed: of all randomness.
            batch_size: the most samples the model sees at once.
        """


@dataclass(frozen=True)
class ZeroStart:
    """No perturbation at all."""

    @property
    def name(self) -> str:
        """ "zero"."""
        return "zero"

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        labels: Tensor,
        goal: Goal,
        ball: Ball,
        *,
        number: int,
        seed: int,
        batch_size: int,
    ) -> Tensor:
        """Zeros (*shape)."""
        return torch.zeros_like(x[0])


@dataclass(frozen=True)
class RandomStart:
    """A random point of full length: random signs for l_inf, the sphere for other norms; another for each restart."""

    @property
    def name(self) -> str:
        """ "random"."""
        return "random"

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        labels: Tensor,
        goal: Goal,
        ball: Ball,
        *,
        number: int,
        seed: int,
        batch_size: int,
    ) -> Tensor:
        """A point of the sphere (*shape)."""
        noise = sample_noise(seed, [number], x.shape[1:], "universal/start", dtype=x.dtype, device=x.device)
        return ball.project(ball.sphere(noise))[0]

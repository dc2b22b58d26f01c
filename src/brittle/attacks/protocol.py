"""The role of an attack."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from brittle.threats import Ball


class Attack(Protocol):
    """A search for misclassified points around given inputs.

    An attack is a frozen value: the same call gives the same answer. It leaves the model as it found it, feeds it at
    most `len(x)` inputs at a time, and what it does to one sample does not depend on the others in the batch.
    """

    @property
    def name(self) -> str:
        """The name reports show, with the number of steps: "apgd-ce-50"."""

    @property
    def cost(self) -> int:
        """Gradient evaluations per sample, at most."""

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates for a batch.

        Args:
            model: maps pixels (b, *shape) in [0, 1] to logits (b, classes).
            x: pixels (b, *shape), float32 or float64.
            y: labels (b,), int64.
            threat: the ball; every answer lies in the ball and in the pixel box, exactly.
            indices: positions of the samples in their data set, (b,) int64: random numbers belong to these.
            seed: all randomness comes from it.

        Returns:
            x_adv (b, *shape): per sample the first misclassified point found, else the strongest try.
        """

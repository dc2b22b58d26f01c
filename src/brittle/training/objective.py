"""Plain training: cross-entropy on the samples as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from brittle.training.protocols import Generators, Loss


class Stateless:
    """For losses and terms that remember nothing."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class CrossEntropy:
    """`-log softmax(model(x))_y`, nats."""

    @property
    def name(self) -> str:
        """ "plain"."""
        return "plain"

    @property
    def cost(self) -> float:
        """One gradient."""
        return 1.0

    def start(self) -> Loss:
        """The loss."""
        return _CrossEntropy()


class _CrossEntropy(Stateless):
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        return F.cross_entropy(model(x), y, reduction="none")

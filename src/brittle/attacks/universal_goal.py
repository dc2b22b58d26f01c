"""What a universal perturbation wants of each sample: leave a class, or reach one.

Legend: b batch, c classes; z logits (b, c), labels (b,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from brittle.attacks.losses import margin


class Goal(Protocol):
    """A goal and its smooth stand-in, both in [0, 1] for each sample, so that no sample counts more than once."""

    def labels(self, y: Tensor) -> Tensor:
        """The class each sample is measured against, (b,), from the classes y (b,) that came with the samples."""

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Which samples are where the goal wants them, (b,) bool."""

    def loss(self, logits: Tensor, labels: Tensor, width: float) -> Tensor:
        """A sigmoid step across the decision boundary, `width` logits wide, (b,): larger is better for the goal."""


@dataclass(frozen=True)
class Leave:
    """Untargeted: any class but the sample's own."""

    def labels(self, y: Tensor) -> Tensor:
        """The samples' own classes."""
        return y

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The prediction is another class."""
        return logits.argmax(1) != labels

    def loss(self, logits: Tensor, labels: Tensor, width: float) -> Tensor:
        """`sigmoid((max_{j != y} z_j - z_y) / width)`."""
        return torch.sigmoid(margin(logits, labels) / width)


@dataclass(frozen=True)
class Reach:
    """Targeted: one class for all samples."""

    target: int

    def labels(self, y: Tensor) -> Tensor:
        """The target for every sample."""
        return torch.full_like(y, self.target)

    def reached(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The prediction is the target."""
        return logits.argmax(1) == labels

    def loss(self, logits: Tensor, labels: Tensor, width: float) -> Tensor:
        """`sigmoid((z_t - max_{j != t} z_j) / width)`."""
        return torch.sigmoid(-margin(logits, labels) / width)

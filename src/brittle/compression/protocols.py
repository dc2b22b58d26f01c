"""The roles in compression: what a score may look at, what scores units, and how a knob becomes a plan.

Legend: n samples, u units of a coupling (channels, neurons or heads that can only go together).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.plan import CompressionPlan
from brittle.threats import Ball


@dataclass(frozen=True, eq=False)
class Evidence:
    """What choices may be made from: training samples, never those that a result is scored on.

    Attributes:
        x: pixels (n, *shape) in [0, 1], in the model's number format and on its device.
        y: labels (n,).
        threat: what robust choices defend against; None where only clean accuracy counts.
        seed: of all randomness.
    """

    x: Tensor
    y: Tensor
    threat: Ball | None
    seed: int


class UnitScore(Protocol):
    """How much each unit matters: larger stays."""

    def __call__(self, model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence) -> Mapping[str, Tensor]:
        """Scores (u,) >= 0, float64, for each coupling by name. The model is left as it was."""


class Family(Protocol):
    """Plans along one knob: 0 keeps least, 1 keeps everything; never smaller for a larger knob."""

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""

"""Fast adversarial training: one step from a random start."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.threats import Ball
from brittle.training.adversarial.inner import check_step, check_threat
from brittle.training.adversarial.pgd import AttackedLoss
from brittle.training.protocols import Loss


@dataclass(frozen=True)
class FastTraining:
    """Cross-entropy after one step of `step_size * epsilon` from a random point, clipped to ball and box, nats.

    Wong et al. 2020, Algorithm 3, with their step of 1.25 epsilon; every sample is attacked. It can fail all at once:
    the net learns to mislead the single step, and several steps then find errors everywhere. `OverfittingWatch` looks
    for that.

    Attributes:
        threat: an l_inf or l_2 ball, pixel units.
        step_size: as a multiple of epsilon.

    Raises:
        UsageError: another ball, or a step that is not positive.
    """

    threat: Ball
    step_size: float = 1.25

    def __post_init__(self) -> None:
        check_threat(self.threat)
        check_step(self.step_size)

    @property
    def name(self) -> str:
        """Such as "fast-linf-0.0313725-1x1.25"."""
        return f"fast-{self.threat.norm}-{self.threat.epsilon:g}-1x{self.step_size:g}"

    @property
    def cost(self) -> float:
        """Two gradients: the step's and the loss's."""
        return 2.0

    def start(self) -> Loss:
        """The loss."""
        return AttackedLoss(self.threat, 1, self.step_size, 1.0)

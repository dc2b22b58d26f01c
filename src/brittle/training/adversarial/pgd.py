"""Adversarial training with projected gradient ascent. Legend: b samples of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from brittle.attacks.losses import cross_entropy
from brittle.models.frozen import frozen
from brittle.threats import Ball
from brittle.training.adversarial.inner import (
    ball_start,
    check_share,
    check_step,
    check_steps,
    check_threat,
    climb,
    room_around,
)
from brittle.training.adversarial.members import spread_rows
from brittle.training.objective import Stateless
from brittle.training.protocols import Generators, Loss


@dataclass(frozen=True)
class PGDTraining:
    """`max_{x' in ball and box} -log softmax(model(x'))_y` (Madry et al. 2018, eq. 2.1), nats.

    The maximum is sought by projected gradient ascent on the cross-entropy from a random point, against the net in eval
    mode: the net that will be used. Running statistics of batch norm hear only of the one pass in train mode on the
    samples that the loss is taken of.

    Attributes:
        threat: an l_inf or l_2 ball, pixel units.
        steps: of the ascent.
        step_size: of each, as a multiple of epsilon.
        share: of the samples of a batch that are attacked, every second one for 0.5; the others stay as they are. Madry
            et al. attack all of them.

    Raises:
        UsageError: another ball, or a number out of its range.
    """

    threat: Ball
    steps: int = 10
    step_size: float = 0.25
    share: float = 0.5

    def __post_init__(self) -> None:
        check_threat(self.threat)
        check_steps(self.steps)
        check_step(self.step_size)
        check_share(self.share)

    @property
    def name(self) -> str:
        """Such as "pgd-linf-0.0313725-10x0.25-share0.5"."""
        share = "" if self.share == 1 else f"-share{self.share:g}"
        return f"pgd-{self.threat.norm}-{self.threat.epsilon:g}-{self.steps}x{self.step_size:g}{share}"

    @property
    def cost(self) -> float:
        """`1 + share * steps`."""
        return 1 + self.share * self.steps

    def start(self) -> Loss:
        """The loss."""
        return AttackedLoss(self.threat, self.steps, self.step_size, self.share)


@dataclass(frozen=True)
class AttackedLoss(Stateless):
    """Cross-entropy where some samples are attacked: the loss of `PGDTraining` and `FastTraining`."""

    threat: Ball
    steps: int
    step_size: float
    share: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        """Losses (b,); raises what `climb` and `room_around` raise."""
        return F.cross_entropy(model(self.points(model, x, y, generator)), y, reduction="none")

    def points(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        """What the loss is taken at, (b, *shape): attacked samples and others, in the order of x."""
        rows = spread_rows(x, self.share, generator)
        centre = x[rows]
        room = room_around(self.threat, centre)
        begin = ball_start(centre, room, generator)
        with frozen(model):
            found = climb(model, centre, y[rows], begin, room, cross_entropy, self.steps, self.step_size)
        return x.index_copy(0, rows, found)

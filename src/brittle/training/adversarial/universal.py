"""Universal adversarial training: one perturbation for all samples, which learns along with the net.

Legend: b samples of a member, M members folded into a batch (see `members`); delta (M, *shape).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch.nn.functional as F
from torch import Tensor, nn

from brittle.attacks.gradient import direction, input_gradient
from brittle.attacks.losses import cross_entropy
from brittle.attacks.room import Room
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball, in_box
from brittle.training.adversarial.inner import check_step, check_threat, room_around
from brittle.training.adversarial.members import member_count
from brittle.training.protocols import Generators, Loss


@dataclass(frozen=True)
class UniversalTraining:
    """`max_{||delta|| <= epsilon} mean -log softmax(model(clamp(x + delta)))_y` (Shafahi et al. 2020), nats.

    With every batch the perturbation takes one step up the mean of `min(loss, cap)`, then the net one step down the
    loss at the new perturbation: the paper's alternating stochastic gradients. Delta begins at zero, belongs to the run
    and is part of its checkpoints. Its gradient is taken on the net in eval mode; where a pixel stands at a wall of the
    box, a sample does not count if its gradient points outwards. A sample's loss depends on the others through delta
    alone. Several processes have a perturbation each.

    Attributes:
        threat: an l_inf or l_2 ball, pixel units.
        step_size: of the perturbation with each batch, as a multiple of epsilon.
        cap: the largest loss that counts for the perturbation, nats: a single sample must not decide.

    Raises:
        UsageError: another ball, or a number out of its range.
    """

    threat: Ball
    step_size: float = 0.125
    cap: float = 9.0

    def __post_init__(self) -> None:
        check_threat(self.threat)
        check_step(self.step_size)
        if not (isfinite(self.cap) and self.cap > 0):
            raise UsageError(f"the largest loss that counts must be a positive number of nats, got {self.cap!r}: try 9")

    @property
    def name(self) -> str:
        """Such as "universal-linf-0.0313725-1x0.125"."""
        return f"universal-{self.threat.norm}-{self.threat.epsilon:g}-1x{self.step_size:g}"

    @property
    def cost(self) -> float:
        """Two gradients: the perturbation's and the net's."""
        return 2.0

    def start(self) -> Loss:
        """The loss, its perturbation still zero."""
        return _Universal(self)


class _Universal:
    def __init__(self, settings: UniversalTraining) -> None:
        self._settings = settings
        self._delta: Tensor | None = None

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        members = member_count(x, generator)
        room = room_around(self._settings.threat, x)
        delta = x.new_zeros(members, *x.shape[1:]) if self._delta is None else self._delta.to(x)
        with frozen(model):
            self._delta = self._stepped(model, x, y, delta, room)
        shift = self._delta.repeat_interleave(len(x) // members, 0)
        return F.cross_entropy(model(in_box(x, shift, room.box)), y, reduction="none")

    def _stepped(self, model: nn.Module, x: Tensor, y: Tensor, delta: Tensor, room: Room) -> Tensor:
        """Each member's perturbation one step further: (M, *shape)."""
        members, cap = len(delta), self._settings.cap
        shift = delta.repeat_interleave(len(x) // members, 0)

        def capped(logits: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(logits, labels).clamp(max=cap)

        _, _, gradient = input_gradient(model, in_box(x, shift, room.box), y, capped)
        moved = x + shift
        outward = ((moved <= room.box.low) & (gradient < 0)) | ((moved >= room.box.high) & (gradient > 0))
        slope = gradient.masked_fill(outward, 0.0).view(members, -1, *x.shape[1:]).mean(1)
        step = room.steepest(direction(slope))
        return room.ball.project(delta + self._settings.step_size * room.epsilon * step)

    def state(self) -> dict[str, Tensor]:
        return {} if self._delta is None else {"delta": self._delta}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._delta = state["delta"].clone() if "delta" in state else None

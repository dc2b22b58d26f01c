"""TRADES: accuracy on clean samples, and a prediction that stays the same around them.

Legend: b samples, c classes; p and q the predictions at x and at x'.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball, in_box
from brittle.training.adversarial.inner import check_step, check_steps, check_threat, climb, room_around
from brittle.training.adversarial.members import normal_noise
from brittle.training.objective import Stateless
from brittle.training.protocols import Generators, Loss

# Standard deviation of the start's noise, pixel units (Algorithm 1 of the paper): at x itself the gradient is zero.
_START = 0.001


def divergence(logits: Tensor, log_p: Tensor) -> Tensor:
    """`KL(p || softmax(logits)) = sum_j p_j (log p_j - log q_j)` in nats, (b, c), (b, c) -> (b,)."""
    return F.kl_div(F.log_softmax(logits, 1), log_p, reduction="none", log_target=True).sum(1)


def check_beta(beta: float) -> None:
    """Refuse a weight of the second term that is negative or no number.

    Raises:
        UsageError: with the number that came.
    """
    if not (isfinite(beta) and beta >= 0):
        raise UsageError(f"TRADES needs beta >= 0, got {beta!r}: 6 is usual")


@dataclass(frozen=True)
class TRADES:
    """`-log p_y + beta * max_{x' in ball and box} KL(p || q)` (Zhang et al. 2019, eq. 5), nats.

    The maximum is sought by projected gradient ascent on the divergence itself, against the net in eval mode, p held
    fixed; the loss is differentiated through both p and q. In train mode the net sees the batch twice, first as it is
    and then attacked: running statistics of batch norm hear of both.

    Attributes:
        threat: an l_inf or l_2 ball, pixel units.
        beta: the weight of the second term, 1 / lambda in the paper: larger gives up accuracy for robustness.
        steps: of the ascent.
        step_size: of each, as a multiple of epsilon.

    Raises:
        UsageError: another ball, or a number out of its range.
    """

    threat: Ball
    beta: float = 6.0
    steps: int = 10
    step_size: float = 0.25

    def __post_init__(self) -> None:
        check_threat(self.threat)
        check_steps(self.steps)
        check_step(self.step_size)
        check_beta(self.beta)

    @property
    def name(self) -> str:
        """Such as "trades-linf-0.0313725-10x0.25-beta6"."""
        return f"trades-{self.threat.norm}-{self.threat.epsilon:g}-{self.steps}x{self.step_size:g}-beta{self.beta:g}"

    @property
    def cost(self) -> float:
        """`steps + 2`: the loss has a gradient through both predictions."""
        return self.steps + 2.0

    def start(self) -> Loss:
        """The loss."""
        return _TRADES(self)


class _TRADES(Stateless):
    def __init__(self, settings: TRADES) -> None:
        self._settings = settings

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        settings = self._settings
        room = room_around(settings.threat, x)
        begin = room.project(x, in_box(x, _START * normal_noise(x, generator), room.box))
        with frozen(model):
            with torch.no_grad():
                held = F.log_softmax(model(x), 1)
            x_adv = climb(model, x, held, begin, room, divergence, settings.steps, settings.step_size)
        logits = model(x)
        moved = divergence(model(x_adv), F.log_softmax(logits, 1))
        return F.cross_entropy(logits, y, reduction="none") + settings.beta * moved

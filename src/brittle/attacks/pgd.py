"""Projected gradient ascent on the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from brittle.attacks.gradient import direction, evaluate, input_gradient
from brittle.attacks.keep import FirstBreak
from brittle.attacks.l1_step import leading_step
from brittle.attacks.losses import LOSSES
from brittle.attacks.room import Room, check_samples, search_room
from brittle.attacks.settings import attack_name, check_counts, check_loss
from brittle.attacks.start import random_start
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball


def _steepest(room: Room, point: Tensor, gradient: Tensor) -> Tensor:
    return room.steepest(gradient)


# Unit steps from a point along the gradient, by norm.
_STEPS: dict[str, Callable[[Room, Tensor, Tensor], Tensor]] = {"linf": _steepest, "l2": _steepest, "l1": leading_step}


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent on minus the loss (Madry et al. 2018, eq. 2.1 and following), from random starts.

    `x <- P(x + step_size * epsilon * step)`: the sign of the gradient for l_inf, the normalised gradient for l_2, equal
    moves of the leading 1 % of the pixels for l_1; P projects on ball and pixel box. The margin is the default loss:
    its gradient does not vanish on confident models, where the cross-entropy's does.

    Raises:
        UsageError: steps, restarts or step size that are not positive, or a loss that is not in `LOSSES`.
    """

    steps: int = 20
    step_size: float = 0.25
    restarts: int = 1
    loss: str = "margin"

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts)
        check_loss(self.loss)
        if not 0 < self.step_size < float("inf"):
            raise UsageError(f"PGD step_size is a positive fraction of epsilon, got {self.step_size!r}: try 0.25")

    @property
    def name(self) -> str:
        """ "pgd-<loss>-<steps>", with "x<restarts>" where there are several."""
        return attack_name("pgd", self.loss, self.steps, self.restarts)

    @property
    def cost(self) -> int:
        """`steps * restarts`."""
        return self.steps * self.restarts

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), as the `Attack` protocol says.

        Raises:
            DataError: samples that are not pixels with labels (see `check_samples`).
            UsageError: pixels in another format than float32 or float64, or a radius below their resolution.
            ModelError: a model without gradients.
        """
        check_samples(x, y, indices)
        room, unit_step = search_room(threat, x), _STEPS[threat.norm]
        loss = LOSSES[self.loss]
        keeper = FirstBreak(x)
        with frozen(model):
            for restart in range(self.restarts):
                rows = keeper.open()
                if len(rows) == 0:
                    break
                centre, label = x[rows], y[rows]
                point = random_start(
                    centre, room, indices.to(rows.device)[rows], seed, f"pgd-{self.loss}-{self.steps}/{restart}"
                )
                for _ in range(self.steps):
                    logits, values, gradient = input_gradient(model, point, label, loss)
                    keeper.see(rows, label, point, logits, values)
                    standing = logits.argmax(1) == label
                    rows, centre, label = rows[standing], centre[standing], label[standing]
                    point, gradient = point[standing], gradient[standing]
                    if len(rows) == 0:
                        break
                    step = self.step_size * room.epsilon * unit_step(room, point, direction(gradient))
                    point = room.project(centre, point + step)
                else:
                    keeper.see(rows, label, point, *evaluate(model, point, label, loss))
        return keeper.x

"""The fast gradient method: one full step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from brittle.attacks.gradient import direction, input_gradient
from brittle.attacks.losses import LOSSES
from brittle.attacks.room import check_samples, search_room
from brittle.attacks.settings import check_loss
from brittle.models.frozen import frozen
from brittle.threats import Ball


@dataclass(frozen=True)
class FGSM:
    """One full step from x itself (Goodfellow et al. 2015, section 4).

    `x + epsilon * sign(gradient)` for l_inf, the normalised gradient for l_2, both clamped to the box. For l_1 the
    pixels of largest |gradient| go to the face of the box, until epsilon is spent. `loss` is a name in `LOSSES`.

    Raises:
        UsageError: a loss that is not in `LOSSES`.
    """

    loss: str = "ce"

    def __post_init__(self) -> None:
        check_loss(self.loss)

    @property
    def name(self) -> str:
        """ "fgsm"."""
        return "fgsm"

    @property
    def cost(self) -> int:
        """One gradient."""
        return 1

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), whatever `indices` and `seed`; raises what `PGD` raises."""
        check_samples(x, y, indices)
        room = search_room(threat, x)
        with frozen(model):
            _, _, gradient = input_gradient(model, x, y, LOSSES[self.loss])
        return room.full_step(x, direction(gradient))

"""Auto-PGD: gradient ascent without a step size to choose."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from brittle.attacks.ascent import ascend
from brittle.attacks.keep import FirstBreak, Highest, Keeper
from brittle.attacks.losses import LOSSES
from brittle.attacks.room import check_samples, search_room
from brittle.attacks.settings import attack_name, check_counts, check_loss
from brittle.attacks.start import random_start
from brittle.models.frozen import frozen
from brittle.threats import Ball


@dataclass(frozen=True)
class APGD:
    """Auto-PGD (Croce & Hein 2020, Algorithm 1) from random starts; a sample is left alone once it is misclassified.

    Raises:
        UsageError: steps or restarts below one, or a loss that is not in `LOSSES`.
    """

    steps: int = 50
    loss: str = "ce"
    restarts: int = 1

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts)
        check_loss(self.loss)

    @property
    def name(self) -> str:
        """ "apgd-<loss>-<steps>", with "x<restarts>" where there are several."""
        return attack_name("apgd", self.loss, self.steps, self.restarts)

    @property
    def cost(self) -> int:
        """`steps * restarts`."""
        return self.steps * self.restarts

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), as the `Attack` protocol says; raises what `PGD` raises."""
        keeper = FirstBreak(x)
        _restart(model, x, y, threat, indices, seed, self, keeper)
        return keeper.x


@dataclass(frozen=True)
class WorstCase:
    """Auto-PGD that goes on after misclassification: it looks for the largest loss, not for the first error.

    The answer's loss is a lower bound on the largest loss in ball and box: what the adversarial risk of Corollary 3.3
    is estimated from.

    Raises:
        UsageError: steps or restarts below one, or a loss that is not in `LOSSES`.
    """

    steps: int = 50
    loss: str = "ce"
    restarts: int = 1

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts)
        check_loss(self.loss)

    @property
    def name(self) -> str:
        """ "worst-<loss>-<steps>", with "x<restarts>" where there are several."""
        return attack_name("worst", self.loss, self.steps, self.restarts)

    @property
    def cost(self) -> int:
        """`steps * restarts`."""
        return self.steps * self.restarts

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """The points of largest loss found, (b, *shape); raises what `PGD` raises."""
        keeper = Highest(x)
        _restart(model, x, y, threat, indices, seed, self, keeper)
        return keeper.x


def _restart(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Ball,
    indices: Tensor,
    seed: int,
    attack: APGD | WorstCase,
    keeper: Keeper,
) -> None:
    check_samples(x, y, indices)
    room = search_room(threat, x)
    with frozen(model):
        for restart in range(attack.restarts):
            rows = keeper.open()
            if len(rows) == 0:
                return
            where = indices.to(rows.device)[rows]
            start = random_start(x[rows], room, where, seed, f"apgd-{attack.loss}-{attack.steps}/{restart}")
            ascend(model, x[rows], y[rows], y[rows], start, rows, room, LOSSES[attack.loss], attack.steps, keeper)

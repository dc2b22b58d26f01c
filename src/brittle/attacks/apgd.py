"""Auto-PGD: gradient ascent without a step size to choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from brittle.attacks.ascent import Momentum, Stride, ascend
from brittle.attacks.keep import FirstBreak, Highest, Keeper
from brittle.attacks.l1_stride import SparseStride
from brittle.attacks.losses import LOSSES
from brittle.attacks.room import check_samples, search_room
from brittle.attacks.settings import attack_name, check_counts, check_loss
from brittle.attacks.start import random_start
from brittle.models.frozen import frozen
from brittle.threats import Ball

# How each norm's ball is walked.
STRIDES: dict[str, type[Stride]] = {"linf": Momentum, "l2": Momentum, "l1": SparseStride}


@dataclass(frozen=True)
class APGD:
    """Auto-PGD from random starts; a sample is left alone once it is misclassified.

    Croce & Hein 2020, Algorithm 1, for l_inf and l_2; Croce & Hein 2021, Algorithm 1, for l_1.

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
        return self.search(model, x, y, threat, FirstBreak, indices=indices, seed=seed)

    def search(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Ball,
        remember: Callable[[Tensor], Keeper],
        *,
        indices: Tensor,
        seed: int,
    ) -> Tensor:
        """What a keeper made by `remember(x)` has kept after all restarts, (b, *shape); raises what `PGD` raises."""
        check_samples(x, y, indices)
        room, stride = search_room(threat, x), STRIDES[threat.norm]
        keeper = remember(x)
        with frozen(model):
            for restart in range(self.restarts):
                rows = keeper.open()
                if len(rows) == 0:
                    break
                where = indices.to(rows.device)[rows]
                start = random_start(x[rows], room, where, seed, f"apgd-{self.loss}-{self.steps}/{restart}")
                label = y[rows]
                ascend(model, x[rows], label, label, start, rows, room, LOSSES[self.loss], self.steps, keeper, stride)
        return keeper.x


@dataclass(frozen=True)
class WorstCase:
    """Auto-PGD that goes on after misclassification: it looks for the largest loss, not for the first error.

    The answer's loss is a lower bound on the largest loss in ball and box: what the adversarial risk of Corollary 3.3
    is estimated from.
    """

    apgd: APGD = APGD()

    @property
    def name(self) -> str:
        """ "worst-<loss>-<steps>", with "x<restarts>" where there are several."""
        return attack_name("worst", self.apgd.loss, self.apgd.steps, self.apgd.restarts)

    @property
    def cost(self) -> int:
        """`steps * restarts`."""
        return self.apgd.cost

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """The points of largest loss found, (b, *shape); raises what `PGD` raises."""
        return self.apgd.search(model, x, y, threat, Highest, indices=indices, seed=seed)

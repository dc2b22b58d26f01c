"""Auto-PGD towards each of the most likely wrong classes in turn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import STRIDES
from brittle.attacks.ascent import ascend
from brittle.attacks.gradient import evaluate
from brittle.attacks.keep import FirstBreak
from brittle.attacks.losses import margin, targeted_dlr
from brittle.attacks.room import check_samples, search_room
from brittle.attacks.settings import attack_name, check_counts
from brittle.attacks.start import random_start
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball


@dataclass(frozen=True)
class TargetedAPGD:
    """APGD on the targeted DLR loss (Croce & Hein 2020, section 4): one run for each of the `targets` wrong classes
    with the largest logits at x (all of them where there are fewer). Samples misclassified towards any class are done.

    Raises:
        UsageError: steps or targets below one.
    """

    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        check_counts(self.steps, 1)
        if self.targets < 1:
            raise UsageError(f"a targeted attack needs targets >= 1, got {self.targets}: 9 is usual")

    @property
    def name(self) -> str:
        """ "apgd-targeted-<steps>x<targets>"."""
        return attack_name("apgd", "targeted", self.steps, self.targets)

    @property
    def cost(self) -> int:
        """`steps * targets`, less where there are fewer wrong classes."""
        return self.steps * self.targets

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), as the `Attack` protocol says; raises what `PGD` raises."""
        check_samples(x, y, indices)
        room, stride = search_room(threat, x), STRIDES[threat.norm]
        keeper = FirstBreak(x)
        with frozen(model):
            logits, _ = evaluate(model, x, y, margin)
            wrong = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
            for number in range(min(self.targets, logits.shape[1] - 1)):
                rows = keeper.open()
                if len(rows) == 0:
                    break
                goal = torch.stack([y, wrong[:, number]], dim=1)[rows]
                where = indices.to(rows.device)[rows]
                start = random_start(x[rows], room, where, seed, f"{self.name}/{number}")
                ascend(model, x[rows], y[rows], goal, start, rows, room, _towards, self.steps, keeper, stride)
        return keeper.x


def _towards(logits: Tensor, goal: Tensor) -> Tensor:
    """Targeted DLR of goals (b, 2), label and target."""
    return targeted_dlr(logits, goal[:, 0], goal[:, 1])

"""Short ascents towards one class at a time, spent where the boundary is closest.

Legend: b batch, c classes, r rows still searched; z logits, y the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import STRIDES
from brittle.attacks.ascent import ascend
from brittle.attacks.gradient import evaluate
from brittle.attacks.losses import margin
from brittle.attacks.reach import Reach
from brittle.attacks.room import check_samples, search_room
from brittle.attacks.settings import check_counts
from brittle.attacks.start import random_start
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball


@dataclass(frozen=True)
class Cascade:
    """Rounds of Auto-PGD, each sample deciding for itself where the next one goes and when there is none.

    The first round raises the margin; the others raise `z_j - z_y` for one class j each. From all points met so far a
    sample knows how near it came to each class: the gap g_j, the smallest `z_y - z_j`, as a share of its gap
    `min_j z_y - z_j` without a perturbation. A class that was tried t times without success counts as
    `(t + 1)^2 g_j` away. The next round goes to the nearest class, from a new random start; a sample whose nearest
    class is further away than `patience` is given up. So samples that nothing moves cost two or three rounds, and those
    close to the boundary all of them, several on one class. The targets of Multi-Targeted PGD (Gowal et al. 2019), and
    the idea of giving up what does not move (Liu et al. 2022, section 3.3), in one rule for each sample alone.

    Raises:
        UsageError: steps or rounds below one, or a patience that is not a positive number.
    """

    steps: int = 50
    rounds: int = 20
    patience: float = 2.0

    def __post_init__(self) -> None:
        check_counts(self.steps, 1)
        if self.rounds < 1:
            raise UsageError(f"a cascade needs rounds >= 1, got {self.rounds}: 20 is usual")
        if not 0 < self.patience < float("inf"):
            raise UsageError(f"a cascade's patience is a positive number, got {self.patience!r}: try 2")

    @property
    def name(self) -> str:
        """ "cascade-<steps>x<rounds>"."""
        return f"cascade-{self.steps}x{self.rounds}"

    @property
    def cost(self) -> int:
        """`steps * rounds`; most samples take far less."""
        return self.steps * self.rounds

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        """Adversarial candidates (b, *shape), as the `Attack` protocol says; the strongest try has the largest margin.

        Raises what `PGD` raises.
        """
        check_samples(x, y, indices)
        room, stride = search_room(threat, x), STRIDES[threat.norm]
        with frozen(model):
            logits, _ = evaluate(model, x, y, margin)
            keeper = Reach(x, y, logits)
            for number in range(self.rounds):
                goal, distance = keeper.nearest()
                rows = (~keeper.broken & ((distance <= self.patience) | (number == 0))).nonzero()[:, 0]
                if len(rows) == 0:
                    break
                where = indices.to(rows.device)[rows]
                start = random_start(x[rows], room, where, seed, f"cascade/{number}")
                centre, label = x[rows], y[rows]
                if number == 0:
                    ascend(model, centre, label, label, start, rows, room, margin, self.steps, keeper, stride)
                    continue
                keeper.try_class(rows, goal[rows])
                pair = torch.stack([label, goal[rows]], dim=1)
                ascend(model, centre, label, pair, start, rows, room, _lead, self.steps, keeper, stride)
        return keeper.x


def _lead(logits: Tensor, pair: Tensor) -> Tensor:
    """`z_j - z_y` for pairs (r, 2) of label y and class j, (r, c) -> (r,)."""
    both = logits.gather(1, pair)
    return both[:, 1] - both[:, 0]

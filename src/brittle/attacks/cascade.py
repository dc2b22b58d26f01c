"""Short ascents towards one class at a time, spent where the boundary is closest.

Legend: b batch, c classes, r rows still searched; z logits, y the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import STRIDES
from brittle.attacks.ascent import Stride, ascend
from brittle.attacks.gradient import evaluate
from brittle.attacks.keep import Highest
from brittle.attacks.losses import Loss, margin
from brittle.attacks.reach import Reach
from brittle.attacks.room import Room, check_samples, search_room
from brittle.attacks.start import random_start
from brittle.errors import UsageError
from brittle.models.frozen import frozen
from brittle.threats import Ball, ball

# Radii that the rounds begin at, in turn, in units of the threat's. In l_2 an ascent that begins in a wider ball finds
# other maxima, and far better ones; in l_inf it changes little. The first round stays in the ball.
_WIDTHS = (1.0, 2.0, 3.0)
# One step in three of a round is made in the wider ball.
_WIDE_SHARE = 3


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

    Two rounds in three spend a third of their steps in a ball of twice or three times the radius, and go on inside the
    threat from the best point found there, brought back by projection (as Croce & Hein 2021, section 3.3, do for l_1).

    Raises:
        UsageError: steps below three, rounds below one, or a patience that is not a positive number.
    """

    steps: int = 50
    rounds: int = 12
    patience: float = 2.0

    def __post_init__(self) -> None:
        if self.steps < _WIDE_SHARE or self.rounds < 1:
            raise UsageError(
                f"a cascade needs steps >= {_WIDE_SHARE} and rounds >= 1, got steps={self.steps}, rounds={self.rounds}:"
                " 50 and 12 are usual"
            )
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
        stride = STRIDES[threat.norm]
        rooms = tuple(search_room(ball(threat.norm, width * threat.epsilon), x) for width in _WIDTHS)
        with frozen(model):
            logits, _ = evaluate(model, x, y, margin)
            keeper = Reach(x, y, logits)
            for number in range(self.rounds):
                goal, distance = keeper.nearest()
                rows = (~keeper.broken & ((distance <= self.patience) | (number == 0))).nonzero()[:, 0]
                if len(rows) == 0:
                    break
                where = indices.to(rows.device)[rows]
                wide = rooms[number % len(rooms)]
                start = random_start(x[rows], wide, where, seed, f"cascade/{number}")
                aim: Tensor = y[rows]
                loss: Loss = margin
                if number > 0:
                    keeper.try_class(rows, goal[rows])
                    aim, loss = torch.stack([y[rows], goal[rows]], dim=1), _lead
                steps = self.steps
                if wide is not rooms[0]:
                    steps -= self.steps // _WIDE_SHARE
                    far = _best(model, x[rows], y[rows], aim, start, wide, loss, self.steps - steps, stride)
                    start = rooms[0].project(x[rows], far)
                ascend(model, x[rows], y[rows], aim, start, rows, rooms[0], loss, steps, keeper, stride)
        return keeper.x


def _best(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    goal: Tensor,
    start: Tensor,
    wide: Room,
    loss: Loss,
    steps: int,
    stride: type[Stride],
) -> Tensor:
    """The points (r, *shape) of largest loss of an ascent in `wide`: they may leave the threat, so none counts."""
    keeper = Highest(start)
    ascend(model, x, y, goal, start, torch.arange(len(x), device=x.device), wide, loss, steps, keeper, stride)
    return keeper.x


def _lead(logits: Tensor, pair: Tensor) -> Tensor:
    """`z_j - z_y` for pairs (r, 2) of label y and class j, (r, c) -> (r,)."""
    both = logits.gather(1, pair)
    return both[:, 1] - both[:, 0]

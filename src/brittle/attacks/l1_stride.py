"""How Auto-PGD steps in an l_1 ball: first many pixels a little, then ever fewer.

Legend: r rows still searched, d coordinates; eta the step size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.attacks.ascent import Walk
from brittle.attacks.l1_step import sparse_step
from brittle.attacks.room import Room
from brittle.threats.shape import per_sample

# Of the coordinates, how many the first steps move; checkpoints come after this share of the steps.
_FIRST_SHARE = 0.2
_CHECK_SHARE = 0.04

# Each checkpoint divides by this: the peak's non-zero coordinates for the next count, and eta where the peak's sparsity
# has settled (its non-zero coordinates are at least this share of those before), down to a tenth of the radius.
_DIVISOR = 1.5
_SETTLED = 0.95
_SMALLEST_ETA = 0.1

# Moves below this share of the radius count as none.
_STILL = 1e-6


@dataclass
class SparseStride:
    """Sparse steps without momentum and the exact projection on ball and box (Croce & Hein 2021, Algorithm 1).

    eta starts at the radius. While the peak keeps getting sparser, steps stay long and walk on from the peak. Beyond
    the paper: where the projection undoes equal moves of several pixels, fewer move, from the peak on. Without that the
    walk may stand still short of the optimum, even of a linear function.
    """

    eta: Tensor
    count: Tensor
    support: Tensor

    @classmethod
    def begin(cls, walk: Walk, region: Room) -> SparseStride:
        """Before the first step."""
        d = walk.x[0].numel()
        count = torch.full_like(walk.rows, max(int(_FIRST_SHARE * d), 1))
        return cls(torch.full_like(walk.value, region.epsilon), count, torch.full_like(walk.rows, d))

    @staticmethod
    def marks(steps: int) -> tuple[int, ...]:
        """Every 4 % of the steps."""
        every = max(int(_CHECK_SHARE * steps), 1)
        return tuple(range(every, steps + 1, every))

    def propose(self, walk: Walk, region: Room, *, first: bool) -> Tensor:
        """`P(x_k + eta * sparse step)`."""
        step = sparse_step(region, walk.point, walk.gradient, self.count)
        return region.project(walk.x, torch.addcmul(walk.point, step, per_sample(self.eta, step)))

    def adapt(self, walk: Walk, region: Room, since: int) -> None:
        """Move fewer coordinates; shorten eta, or start it afresh from the peak where that has become sparser."""
        support = (walk.peak != walk.x).flatten(1).sum(1)
        sparser = support < _SETTLED * self.support
        still = (walk.point - walk.previous).flatten(1).abs().amax(1) <= _STILL * region.epsilon
        shorter = (self.eta / _DIVISOR).clamp_min(_SMALLEST_ETA * region.epsilon)
        self.eta = torch.where(sparser, region.epsilon, shorter)
        fewer = torch.where(still, torch.minimum(support, self.count), support)
        self.count = (fewer / _DIVISOR).long().clamp_min(1)
        self.support = support
        walk.go_back(sparser | still)

"""The ascent of Auto-PGD (Croce & Hein 2020, Algorithm 1): a walk uphill with steps that adapt, per sample.

Legend: r rows still searched; eta the step size, w_j the checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import direction, evaluate, input_gradient
from brittle.attacks.keep import Keeper
from brittle.attacks.losses import Loss
from brittle.attacks.room import Region
from brittle.threats.shape import per_sample

# alpha and rho of the paper: weight of the new step against momentum; share of steps that must raise the loss.
_ALPHA = 0.75
_RHO = 0.75


@dataclass
class Walk:
    """Where r samples stand, what they met there, and the point of largest loss on their way; every field (r, ...)."""

    rows: Tensor
    x: Tensor
    y: Tensor
    goal: Tensor
    point: Tensor
    previous: Tensor
    gradient: Tensor
    value: Tensor
    peak: Tensor
    peak_gradient: Tensor
    peak_value: Tensor
    rises: Tensor

    def arrive(self, point: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the next point; `rises` counts those of larger loss than the one before."""
        better = value > self.peak_value
        higher = per_sample(better, point)
        self.rises = self.rises + (value > self.value)
        self.previous, self.point, self.value, self.gradient = self.point, point, value, gradient
        self.peak = torch.where(higher, point, self.peak)
        self.peak_gradient = torch.where(higher, gradient, self.peak_gradient)
        self.peak_value = torch.where(better, value, self.peak_value)

    def go_back(self, lost: Tensor) -> None:
        """Stand on the peak again where `lost` (r,) says so. The step that led away from there stays the momentum."""
        wide = per_sample(lost, self.point)
        self.point = torch.where(wide, self.peak, self.point)
        self.gradient = torch.where(wide, self.peak_gradient, self.gradient)
        self.value = torch.where(lost, self.peak_value, self.value)


class Stride(Protocol):
    """How an ascent steps. What it remembers of the rows are dataclass fields, each (r, ...)."""

    @classmethod
    def begin(cls, walk: Walk, region: Any) -> Stride:
        """Before the first step."""

    @staticmethod
    def marks(steps: int) -> tuple[int, ...]:
        """After which of the steps 1 ... `steps` it adapts, ascending."""

    def propose(self, walk: Walk, region: Any, *, first: bool) -> Tensor:
        """The next points, (r, *shape), inside the region."""

    def adapt(self, walk: Walk, region: Any, since: int) -> None:
        """Change the steps to come, `since` steps after the last time."""


@dataclass
class Momentum:
    """Steps along `region.steepest` with momentum; eta is twice the radius and halves (conditions 1 and 2)."""

    eta: Tensor
    halved: Tensor
    peak_before: Tensor

    @classmethod
    def begin(cls, walk: Walk, region: Region) -> Momentum:
        """Before the first step."""
        eta = torch.full_like(walk.value, 2 * region.epsilon)
        return cls(eta, torch.zeros_like(walk.rows, dtype=torch.bool), walk.value)

    @staticmethod
    def marks(steps: int) -> tuple[int, ...]:
        """`w_j = ceil(p_j N)`, p_1 = 0.22, `p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)` (section 3.2)."""
        shares = [0.0, 0.22]
        while shares[-1] < 1.0:
            shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        # Rounded first: 0.22 + 0.19 + 0.16 must not pass 0.57 by an ulp and be lifted to the next step.
        return tuple(sorted({ceil(round(share * steps, 9)) for share in shares[1:] if share <= 1.0}))

    def propose(self, walk: Walk, region: Region, *, first: bool) -> Tensor:
        """`z = P(x_k + eta * steepest)`, then `P(x_k + alpha (z - x_k) + (1 - alpha) (x_k - x_{k-1}))`."""
        step = region.steepest(direction(walk.gradient))
        z = region.project(walk.x, torch.addcmul(walk.point, step, per_sample(self.eta, step)))
        if first:
            return z
        inertia = torch.sub(walk.point, walk.previous).mul_(1 - _ALPHA)
        return region.project(walk.x, inertia.add_(torch.lerp(walk.point, z, _ALPHA)))

    def adapt(self, walk: Walk, region: Region, since: int) -> None:
        """Halve eta and go back to the peak where few of the steps rose, or the peak stayed and eta was not halved."""
        poor = (walk.rises < _RHO * since) | (~self.halved & (self.peak_before == walk.peak_value))
        self.eta = torch.where(poor, self.eta / 2, self.eta)
        self.halved, self.peak_before = poor, walk.peak_value
        walk.go_back(poor)


def ascend(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    goal: Tensor,
    start: Tensor,
    rows: Tensor,
    region: Region,
    loss: Loss,
    steps: int,
    keeper: Keeper,
    stride: type[Stride] = Momentum,
) -> None:
    """Raise the loss from `start` in `steps` gradients and show every point to `keeper`.

    Args:
        model: frozen; pixels (r, *shape) -> logits (r, classes).
        x: centres of the balls, (r, *shape).
        y: labels (r,): a point is misclassified when the prediction is another class.
        goal: what the loss is computed from besides the logits, (r, ...): the labels, or labels with targets.
        start: first points (r, *shape), inside the region.
        rows: the samples' positions in the keeper's batch, (r,), ascending.
        region: where to search (see `search_room`).
        loss: maps logits (r, classes) and the rows' goals to (r,).
        steps: gradient evaluations, >= 1.
        keeper: decides which samples are still searched, and remembers the answers.
        stride: how to step; see `brittle.attacks.apgd.STRIDES` for each norm's.
    """
    logits, value, gradient = input_gradient(model, start, goal, loss)
    keeper.see(rows, y, start, logits, value)
    still = torch.zeros_like(value)
    walk = Walk(rows, x, y, goal, start, start, gradient, value, start, gradient, value, still)
    pace = stride.begin(walk, region)
    marks, last = stride.marks(steps), 0
    for k in range(1, steps + 1):
        wanted = keeper.wants(walk.rows)
        if not bool(wanted.all()):
            left = wanted.nonzero()[:, 0]
            _keep(walk, left)
            _keep(pace, left)
        if len(walk.rows) == 0:
            return
        point = pace.propose(walk, region, first=k == 1)
        if k == steps:
            keeper.see(walk.rows, walk.y, point, *evaluate(model, point, walk.goal, loss))
            return
        logits, value, gradient = input_gradient(model, point, walk.goal, loss)
        keeper.see(walk.rows, walk.y, point, logits, value)
        walk.arrive(point, value, gradient)
        if k in marks:
            pace.adapt(walk, region, k - last)
            walk.rises, last = torch.zeros_like(walk.rises), k


def _keep(holder: Any, left: Tensor) -> None:
    """Only the rows `left` (r',) of a dataclass of tensors."""
    for field in fields(holder):
        setattr(holder, field.name, getattr(holder, field.name).index_select(0, left))

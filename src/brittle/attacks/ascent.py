"""The ascent of Auto-PGD (Croce & Hein 2020, Algorithm 1): step sizes that adapt themselves, per sample.

Legend: r rows still searched; f the loss, eta the step size, w_j the checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil

import torch
from torch import Tensor, nn

from brittle.attacks.gradient import direction, evaluate, input_gradient
from brittle.attacks.keep import Keeper
from brittle.attacks.losses import Loss
from brittle.attacks.room import Region

# alpha and rho of the paper: weight of the new step against momentum; share of steps that must raise the loss.
_ALPHA = 0.75
_RHO = 0.75


def checkpoints(steps: int) -> tuple[int, ...]:
    """`w_j = ceil(p_j N)` with p_0 = 0, p_1 = 0.22, `p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)` (section 3.2)."""
    shares = [0.0, 0.22]
    while shares[-1] < 1.0:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounded first: 0.22 + 0.19 + 0.16 must not pass 0.57 by an ulp and be lifted to the next step.
    return tuple(sorted({ceil(round(share * steps, 9)) for share in shares if share <= 1.0}))


@dataclass
class _State:
    """Everything the ascent knows about the r samples it still works on; every field is (r, ...)."""

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
    eta: Tensor
    rises: Tensor
    halved: Tensor
    peak_before: Tensor

    def keep(self, mask: Tensor) -> None:
        if bool(mask.all()):
            return
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[mask])

    def arrive(self, point: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the next iterate."""
        self.rises += value > self.value
        better = value > self.peak_value
        self.previous, self.point, self.value, self.gradient = self.point, point, value, gradient
        self.peak = torch.where(_wide(better, point), point, self.peak)
        self.peak_gradient = torch.where(_wide(better, point), gradient, self.peak_gradient)
        self.peak_value = torch.where(better, value, self.peak_value)

    def adapt(self, since: int) -> None:
        """Halve eta and go back to the best point where the last `since` steps were poor (conditions 1 and 2)."""
        few = self.rises < _RHO * since
        stuck = ~self.halved & (self.peak_before == self.peak_value)
        poor = few | stuck
        self.eta = torch.where(poor, self.eta / 2, self.eta)
        self.point = torch.where(_wide(poor, self.point), self.peak, self.point)
        self.gradient = torch.where(_wide(poor, self.point), self.peak_gradient, self.gradient)
        self.value = torch.where(poor, self.peak_value, self.value)
        self.halved, self.peak_before, self.rises = poor, self.peak_value, torch.zeros_like(self.rises)


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
    """
    marks = checkpoints(steps)
    state = _begin(model, x, y, goal, start, rows, region, loss, keeper)
    last = 0
    for k in range(1, steps + 1):
        state.keep(keeper.wants(state.rows))
        if len(state.rows) == 0:
            return
        point = _propose(state, region, first=k == 1)
        if k == steps:
            keeper.see(state.rows, state.y, point, *evaluate(model, point, state.goal, loss))
            return
        logits, value, gradient = input_gradient(model, point, state.goal, loss)
        keeper.see(state.rows, state.y, point, logits, value)
        state.arrive(point, value, gradient)
        if k in marks:
            state.adapt(k - last)
            last = k


def _begin(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    goal: Tensor,
    start: Tensor,
    rows: Tensor,
    region: Region,
    loss: Loss,
    keeper: Keeper,
) -> _State:
    logits, value, gradient = input_gradient(model, start, goal, loss)
    keeper.see(rows, y, start, logits, value)
    return _State(
        rows=rows,
        x=x,
        y=y,
        goal=goal,
        point=start,
        previous=start,
        gradient=gradient,
        value=value,
        peak=start,
        peak_gradient=gradient,
        peak_value=value,
        eta=torch.full_like(value, 2 * region.epsilon),
        rises=torch.zeros_like(value),
        halved=torch.zeros_like(value, dtype=torch.bool),
        peak_before=value,
    )


def _propose(state: _State, region: Region, *, first: bool) -> Tensor:
    """`z = P(x_k + eta * steepest)`, then `P(x_k + alpha (z - x_k) + (1 - alpha) (x_k - x_{k-1}))`."""
    step = _wide(state.eta, state.point) * region.steepest(direction(state.gradient))
    z = region.project(state.x, state.point + step)
    if first:
        return z
    momentum = state.point - state.previous
    return region.project(state.x, state.point + _ALPHA * (z - state.point) + (1 - _ALPHA) * momentum)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *([1] * (like.dim() - 1)))

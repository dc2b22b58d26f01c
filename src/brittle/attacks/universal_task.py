"""What a universal perturbation is fitted to: checked samples, cut into a fitting and a choosing part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.losses import margin
from brittle.attacks.universal_goal import Goal, Leave, Reach
from brittle.attacks.universal_gradient import shared_logits
from brittle.data.order import shuffled
from brittle.directions.representation import logits_of
from brittle.errors import DataError, ModelError
from brittle.threats import Ball

# Share of the samples that choose between iterates.
_CHOOSING = 0.2


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that stays the same during a fit.

    `x` and `labels` are fitted on, `x_choose` and `labels_choose` choose between iterates, all on the model's device;
    `width` is the loss's, in logits; `ball` is the part of the threat that survives rounding.
    """

    model: nn.Module
    x: Tensor
    labels: Tensor
    x_choose: Tensor
    labels_choose: Tensor
    goal: Goal
    width: float
    ball: Ball
    batch_size: int

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The goal's loss at this task's width."""
        return self.goal.loss(logits, labels, self.width)

    def score(self, delta: Tensor) -> tuple[float, float]:
        """Share of the choosing samples where the goal wants them, then the mean loss: larger is better."""
        logits = shared_logits(self.model, self.x_choose, delta, self.batch_size)
        reached, loss = self.goal.reached(logits, self.labels_choose), self.loss(logits, self.labels_choose)
        return float(reached.double().mean()), float(loss.double().mean())


def task_for(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    target: int | None,
    width: float,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> Task:
    """Check model and labels at the clean samples, and cut these into a fitting and a choosing part.

    Args:
        model: frozen; pixels (b, *shape) -> logits (b, classes).
        x: pixels (n, *shape).
        y: the classes to leave, (n,).
        ball: the ball to stay in.
        target: class to reach; None for merely leaving y.
        width: of the loss, as a share of the median clean margin.
        seed: of the cut.
        batch_size: the most samples the model sees at once.
        device: the model's.

    Raises:
        DataError: labels or target outside the classes, or fewer than two samples that can be fitted on.
        ModelError: no finite logits (b, classes) with at least two classes.
    """
    with torch.no_grad():
        logits = torch.cat([logits_of(model, part.to(device)) for part in x.split(batch_size)])
    classes = logits.shape[1]
    if classes < 2 or not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"expected finite logits of at least 2 classes, got {classes} classes"
            f"{'' if bool(torch.isfinite(logits).all()) else ' with NaN or infinity'}: check the weights and the head"
        )
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise DataError(
            f"expected labels from 0 to {classes - 1}, got {int(y.min())} to {int(y.max())}: check that model and data "
            "belong together"
        )
    if target is not None and not 0 <= target < classes:
        raise DataError(f"expected a target class from 0 to {classes - 1}, got {target}")
    goal: Goal = Leave() if target is None else Reach(target)
    rows = torch.from_numpy(shuffled(len(x), seed)).to(x.device)
    rows = rows if target is None else rows[y[rows] != target]
    if len(rows) < 2:
        kind = "" if target is None else f" of other classes than the target {target}"
        raise DataError(f"expected at least 2 samples{kind} to fit a universal perturbation on, got {len(rows)}")
    labels = goal.labels(y).to(device)
    scale = float(margin(logits, labels).abs().median())
    cut = max(1, int(_CHOOSING * len(rows)))
    choose, fit = rows[:cut], rows[cut:]
    return Task(
        model=model,
        x=x[fit].to(device),
        labels=labels[fit.to(device)],
        x_choose=x[choose].to(device),
        labels_choose=labels[choose.to(device)],
        goal=goal,
        width=max(width * scale, torch.finfo(logits.dtype).tiny),
        ball=ball,
        batch_size=batch_size,
    )

"""An ensemble under way: one epoch of all members, each with its own order, labels, rates and penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.training.engine_run import Run
from brittle.training.ensemble.additions import Additions
from brittle.training.ensemble.optimisers import STACKED, clip
from brittle.training.ensemble.stack import Stack
from brittle.training.noise import add_noise
from brittle.training.place import Here
from brittle.training.plan import Plan

# Rows (members times samples) of a validation batch.
_SCORED = 8192


@dataclass(frozen=True, eq=False)
class Epoch:
    """What the steps of an epoch began with.

    Attributes:
        losses: the objective's mean for each step and member, (steps, M), float64 on the CPU.
        added: penalties times strengths, likewise.
        sizes: b of each step.
    """

    losses: Tensor
    added: Tensor
    sizes: list[int]


class Steps:
    """The members' runs, moved together. `runs` keep each member's generators, labels, rates and history.

    Args:
        models: of one architecture on one device; they are copied into `stack`.
        train: the samples to learn from.
        validation: the samples to choose epochs by.
        plans: one for each member, alike enough (see `together.why_not`).
        seeds: one for each member.

    Raises:
        UsageError: penalties, layers or label noise that cannot be used.
    """

    def __init__(
        self, models: Sequence[nn.Module], train: Split, validation: Split, plans: Sequence[Plan], seeds: Sequence[int]
    ) -> None:
        device = next(models[0].parameters()).device
        self.runs = [
            Run(model, train, validation, plan, seed, Here(), device)
            for model, plan, seed in zip(models, plans, seeds, strict=True)
        ]
        self.stack = Stack(models)
        self._device, self._like = device, self.stack.flat
        self._plans, self._how = plans, plans[0].dynamics
        self._additions = Additions(self.stack, models[0], self.runs[0].added, plans)
        self._loss = plans[0].objective.start()
        self._objective_numbers = [run.generators["objective"] for run in self.runs]
        self._optimiser = STACKED[self._how.optimiser](
            self.stack.flat,
            _vector([plan.dynamics.weight_decay for plan in plans], device),
            _vector([plan.dynamics.momentum for plan in plans], device),
        )
        self._rates = _vector([run.rates for run in self.runs], device)
        self._largest = _vector([inf if plan.dynamics.clip is None else plan.dynamics.clip for plan in plans], device)
        self._x, self._y = train.x.to(device), torch.stack([run.labels for run in self.runs]).to(device)
        self._shown, self._shown_y = validation.x.to(device), validation.y.to(device)

    @property
    def step(self) -> int:
        """Finished steps."""
        return self.runs[0].at.step

    def epoch(self) -> Epoch:
        """One pass over the training split. Its losses are not looked at on the way: a GPU need not wait for them."""
        self.stack.train()
        left = zip(*(run.open_epoch() for run in self.runs), strict=True)
        batches = [torch.stack(batch).to(self._device) for batch in left]
        losses, added = zip(*(self._move(batch) for batch in batches), strict=True)
        return Epoch(
            losses=torch.stack(losses).double().cpu(),
            added=torch.stack(added).double().cpu(),
            sizes=[batch.shape[1] for batch in batches],
        )

    def _move(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """One step on samples batch (M, b): losses and additions (M,) before it."""
        x, y = self._x[batch.flatten()].to(self._like), self._y.gather(1, batch).flatten()
        each = self._loss(self.stack, x, y, self._objective_numbers)
        losses, added = each.unflatten(0, (self.stack.size, -1)).mean(1), self._additions.loss()
        total = losses if added is None else losses + added
        # Members share no weights, so the gradient of the sum holds every member's own.
        self._down(torch.autograd.grad(total.sum(), self.stack.trainable))
        for run in self.runs:
            run.at.step += 1
        return losses.detach(), torch.zeros_like(losses) if added is None else added.detach()

    @torch.no_grad()
    def _down(self, gradients: Sequence[Tensor]) -> None:
        gradient = torch.cat([g.flatten(1) for g in gradients], 1)
        for m, (run, plan) in enumerate(zip(self.runs, self._plans, strict=True)):
            tails = plan.dynamics.gradient_noise
            if tails is not None:
                own = [piece[m] for piece in self.stack.pieces(gradient)]
                add_noise(own, tails.alpha, tails.scale, run.generators["gradients"])
        if self._clips:
            clip(gradient, self._largest)
        self._optimiser.step(gradient, self._rates[:, self.step])
        self._additions.settle([run.rates[self.step] for run in self.runs])

    @property
    def _clips(self) -> bool:
        return any(plan.dynamics.clip is not None for plan in self._plans)

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Each member's accuracy and minus its mean cross-entropy on the validation split: (M, 2), float64, CPU."""
        self.stack.eval()
        parts = self._shown.split(max(1, _SCORED // self.stack.size))
        logits = torch.cat([self.stack.together(x.to(self._like)) for x in parts], 1)
        right = (logits.argmax(2) == self._shown_y).double().mean(1)
        y = self._shown_y.repeat(self.stack.size)
        losses = F.cross_entropy(logits.flatten(0, 1), y, reduction="none").unflatten(0, (self.stack.size, -1))
        return torch.stack([right, -losses.double().mean(1)], 1).cpu()

    def penalties(self) -> list[dict[str, float]]:
        """Each member's penalties now."""
        return self._additions.values() or [{} for _ in self.runs]


def check_numbers(runs: Sequence[Run], totals: Tensor, validation: Tensor) -> None:
    """Refuse to go on with a member whose loss is no number.

    Args:
        runs: after the epoch; members that have stopped count no more.
        totals: losses with additions, (steps of the epoch, M).
        validation: validation losses (M,).

    Raises:
        UsageError: the message names the member, the step and the learning rate.
    """
    before = runs[0].at.step - len(totals)
    for m, run in enumerate(runs):
        broken = (~totals[:, m].isfinite()).nonzero()
        if run.at.stopped or (not len(broken) and isfinite(float(validation[m]))):
            continue
        what, value = ("loss", totals[broken[0, 0], m]) if len(broken) else ("validation loss", validation[m])
        at = before + int(broken[0, 0]) + 1 if len(broken) else run.at.step
        how = run.plan.dynamics
        raise UsageError(
            f"member {m} (seed {run.seed}): the {what} is {abs(float(value))} at step {at} in epoch "
            f"{run.at.epoch + 1} of {how.epochs}: lower its learning rate ({how.learning_rate:g}) or leave it out"
        )


def _vector(numbers: Sequence[float] | Sequence[Sequence[float]], device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).to(device)

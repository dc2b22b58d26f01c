"""A run under way: everything that changes while a model is trained, and one step of it.

Legend: b samples of a batch, n of a split.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.results.training import EpochRow, Tracked
from brittle.training.added import Added
from brittle.training.booking import Closing, Progressed, close_books
from brittle.training.looks import held_still
from brittle.training.noise import add_noise, noisy_labels, stream
from brittle.training.optimisers import optimiser_named
from brittle.training.place import Place
from brittle.training.plan import Plan
from brittle.training.protocols import Judged, Watch
from brittle.training.schedules import schedule_named

# Validation samples that the model sees at once.
_SCORED = 1000


class LostRunError(UsageError):
    """The loss is no number: the message says at which step."""


@dataclass
class Run:
    """One run of `train`; it belongs to `model`, whose weights it changes. `kept` ends the message where it is lost.

    Raises:
        UsageError: penalties, layers or label noise that cannot be used.
    """

    model: nn.Module
    data: Split
    validation: Split
    plan: Plan
    seed: int
    place: Place
    device: torch.device
    kept: Callable[[], str] = lambda: ""
    at: Progressed = field(default_factory=Progressed)
    rows: list[EpochRow] = field(default_factory=list)
    start: Tracked | None = None
    order: Tensor | None = None

    def __post_init__(self) -> None:
        how = self.plan.dynamics
        self.like = next(self.model.parameters())
        self.added = Added(self.model, self.plan)
        self.loss = self.plan.objective.start()
        self.labels = noisy_labels(self.data.y, how.label_noise, stream(self.seed, "labels"))
        build = optimiser_named(how.optimiser)
        self.optimisers = build(self.model, how.learning_rate, how.weight_decay, how.momentum)
        steps = how.epochs * -(-len(self.data) // how.batch_size)
        self.steps = steps if how.steps is None else min(steps, how.steps)
        self.rates = schedule_named(how.schedule)(how.learning_rate, self.steps)
        self.best = copy.deepcopy(self.model.state_dict())
        # The order of the samples is drawn from the seed itself: so are the demo's nets.
        self.generators = {
            "order": torch.Generator().manual_seed(self.seed),
            "objective": stream(self.seed, f"objective/{self.place.rank}" if self.place.rank else "objective"),
            "gradients": stream(self.seed, "gradients"),
        }

    @property
    def finished(self) -> bool:
        """No epoch or step is left, or patience has run out."""
        at = self.at
        return at.stopped or at.epoch >= self.plan.dynamics.epochs or (self.order is None and at.step >= self.steps)

    def open_epoch(self) -> list[Tensor]:
        """The batches that are left of the epoch: a random order, and where the run stands in it.

        A last batch of one is left out, as batch norm cannot train on it, and so are those beyond the run's last step.
        """
        if self.order is None:
            self.order = torch.randperm(len(self.data), generator=self.generators["order"])
        batches = self.order.split(self.plan.dynamics.batch_size)
        batches = tuple(batch for batch in batches if len(batch) > 1) or batches
        return list(batches[self.at.batch :][: self.steps - self.at.step])

    def losses(self, batch: Tensor) -> Tensor:
        """What the step on these samples minimises: the mean loss over all processes' shares, plus what is added.

        Raises:
            LostRunError: it is no number.
        """
        mine = batch[self.place.rank :: self.place.world]
        # A process without samples still computes, as the others wait for its gradients.
        chosen, weight = (mine, 1.0) if len(mine) else (batch[:1], 0.0)
        x, y = self.data.x[chosen].to(self.like), self.labels[chosen].to(self.device)
        with self.place.autocast():
            each = self.loss(self.model, x, y, self.generators["objective"])
        total = each.sum() * weight
        number = float(self.place.total(total.detach())) / len(batch)
        mean, added = total / (len(batch) / self.place.world), self.added.loss()
        self._check(number if added is None else number + float(added.detach()))
        self.at.losses += number * len(batch)
        self.at.samples += len(batch)
        return mean if added is None else mean + added

    def move(self, loss: Tensor) -> None:
        """One step down the loss: gradients, noise, clipping, the optimisers, proximal steps, what is held."""
        how, rate = self.plan.dynamics, self.rates[self.at.step]
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
        self.place.backward(loss)
        self.place.settle_gradients(self.optimisers)
        moved = [p for p in self.model.parameters() if p.grad is not None]
        if how.gradient_noise is not None:
            gradients = [p.grad for p in moved if p.grad is not None]
            add_noise(gradients, how.gradient_noise.alpha, how.gradient_noise.scale, self.generators["gradients"])
        if how.clip is not None:
            torch.nn.utils.clip_grad_norm_(moved, how.clip)
        self.place.step(self.optimisers)
        self.at.step += 1
        self.at.batch += 1
        self.added.settle(rate, self.at.step)

    def score(self) -> tuple[float, float]:
        """Accuracy and minus the mean cross-entropy on the validation split: larger is better. Ends in eval mode.

        Raises:
            LostRunError: the loss is no number.
        """
        self.model.eval()
        with torch.no_grad():
            for buffer in self.model.buffers():  # batch norm saw other samples in each process
                buffer.copy_(self.place.first(buffer))
            logits = torch.cat([self.model(x.to(self.like)).cpu() for x in self.validation.x.split(_SCORED)])
            accuracy = (logits.argmax(1) == self.validation.y).double().mean()
            loss = F.cross_entropy(logits, self.validation.y).double()
            pair = self.place.first(torch.stack([accuracy, -loss]).to(self.device))
        self._check(float(pair[1]), "validation loss")
        return float(pair[0]), float(pair[1])

    def look(self, track: Watch | None, epoch: int) -> Tracked | None:
        """What the tracker sees after this epoch (0: before the first), if it is its turn; the last one is always."""
        last = epoch == self.plan.dynamics.epochs or self.at.step >= self.steps
        if track is None or (epoch % track.every and not last):
            return None
        with held_still(self.model, self.device):
            return track(self.model, self.validation, seed=self.seed)

    def judge(self) -> Judged | None:
        """What the plan's judge says of the model now; None where the plan has none."""
        if self.plan.judge is None:
            return None
        with held_still(self.model, self.device):
            judged = self.plan.judge(self.model, self.validation, seed=self.seed)
        numbers = torch.tensor([*judged.rank, judged.lost], dtype=torch.float64, device=self.device)
        first, second, lost = self.place.first(numbers).tolist()
        return Judged((first, second), lost, judged.seen)

    def close_epoch(self, closing: Closing) -> None:
        """Book a finished epoch: its row, the best weights, patience."""
        self.rows.append(close_books(self.at, self.plan, self.rates, closing))
        if self.at.best_epoch == self.at.epoch:
            self.best = copy.deepcopy(self.model.state_dict())
        self.order = None

    def _check(self, loss: float, what: str = "loss") -> None:
        how = self.plan.dynamics
        if not isfinite(loss):
            raise LostRunError(
                f"the {what} is {abs(loss)} at step {self.at.step + (what == 'loss')} in epoch {self.at.epoch + 1} of "
                f"{how.epochs}: lower the learning rate ({how.learning_rate:g}){self.kept()}"
            )

"""A run under way: everything that changes while a model is trained, one step, and the state it can go on from.

Legend: b samples of a batch, n of a split.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.checkpoint import State
from brittle.results.serialise import from_dict, to_dict
from brittle.results.training import EpochRow, Tracked
from brittle.training.added import Added
from brittle.training.checkpoint import optimiser_tensors, part, restore_optimisers, under
from brittle.training.noise import add_noise, noisy_labels, stream
from brittle.training.optimisers import optimiser_named
from brittle.training.place import Place
from brittle.training.plan import Plan
from brittle.training.schedules import schedule_named

# Validation samples that the model sees at once.
_SCORED = 1000


@dataclass
class Progressed:
    """How far a run is: numbers that JSON holds.

    Attributes:
        epoch: finished epochs.
        batch: finished batches of the epoch under way.
        step: finished steps.
        losses: sum of the objective over the `samples` of the epoch under way.
        best: accuracy and minus the loss of the best epoch on validation.
        best_epoch: its number, 0 before the first.
        lowest: the lowest validation loss so far.
        waited: epochs since then.
        stopped: patience has run out.
        seconds: of all sittings before this one.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    losses: float = 0.0
    samples: int = 0
    seen: int = 0
    best: tuple[float, float] = (-1.0, 0.0)
    best_epoch: int = 0
    lowest: float = inf
    waited: int = 0
    stopped: bool = False
    seconds: float = 0.0


@dataclass
class Run:
    """One run of `train`; it belongs to `model`, whose weights it changes. `kept` ends the message of a lost run.

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
    kept: str = ""
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
        self.rates = schedule_named(how.schedule)(how.learning_rate, steps)
        self.best = copy.deepcopy(self.model.state_dict())
        # The order of the samples is drawn from the seed itself: so are the demo's nets.
        self.generators = {
            "order": torch.Generator().manual_seed(self.seed),
            "objective": stream(self.seed, f"objective/{self.place.rank}" if self.place.rank else "objective"),
            "gradients": stream(self.seed, "gradients"),
        }

    @property
    def finished(self) -> bool:
        """No epoch is left, or patience has run out."""
        return self.at.stopped or self.at.epoch >= self.plan.dynamics.epochs

    def open_epoch(self) -> list[Tensor]:
        """The batches that are left of the epoch: a random order, and where the run stands in it.

        A last batch of one is left out, as batch norm cannot train on it.
        """
        if self.order is None:
            self.order = torch.randperm(len(self.data), generator=self.generators["order"])
        batches = self.order.split(self.plan.dynamics.batch_size)
        batches = tuple(batch for batch in batches if len(batch) > 1) or batches
        return list(batches[self.at.batch :])

    def losses(self, batch: Tensor) -> Tensor:
        """What the step on these samples minimises: the mean loss over all processes' shares, plus what is added.

        Raises:
            UsageError: it is no number.
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
        """One step down the loss: gradients, noise, clipping, the optimisers, proximal steps, held norms."""
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
        self.added.settle(rate)
        self.at.step += 1
        self.at.batch += 1

    def score(self) -> tuple[float, float]:
        """Accuracy and minus the mean cross-entropy on the validation split: larger is better. Ends in eval mode.

        Raises:
            UsageError: the loss is no number.
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

    def close_epoch(self, score: tuple[float, float], tracked: Tracked | None) -> None:
        """Book a finished epoch of that score: its row, the best weights, patience."""
        at, cost = self.at, self.plan.objective.cost
        at.epoch += 1
        at.seen += at.samples
        if score > at.best:
            at.best, at.best_epoch = score, at.epoch
            self.best = copy.deepcopy(self.model.state_dict())
        at.waited = 0 if -score[1] < at.lowest else at.waited + 1
        at.lowest = min(at.lowest, -score[1])
        patience = self.plan.dynamics.patience
        at.stopped = patience is not None and at.waited >= patience
        row = EpochRow(
            epoch=at.epoch,
            steps=at.step,
            gradients=cost * at.seen,
            learning_rate=self.rates[at.step - 1],
            loss=at.losses / at.samples,
            penalties=self.added.values(),
            validation_loss=-score[1],
            validation_accuracy=score[0],
            tracked=tracked,
        )
        self.rows.append(row)
        self.order, at.batch, at.losses, at.samples = None, 0, 0.0, 0

    def state(self, seconds: float) -> State:
        """Everything the rest of the run depends on; call it between steps."""
        tensors = {
            **under("model", self.model.state_dict()),
            **under("best", self.best),
            **under("optimiser", optimiser_tensors(self.optimisers)),
            **under("generator", {name: g.get_state() for name, g in self.generators.items()}),
            **under("objective", self.loss.state()),
            **under("added", self.added.state()),
            **under("place", self.place.state()),
            **under("dropout", {"cpu": torch.default_generator.get_state()}),
        }
        if self.device.type == "cuda":
            tensors["dropout/cuda"] = torch.cuda.get_rng_state(self.device)
        if self.order is not None:
            tensors["order"] = self.order
        values: dict[str, Any] = {**asdict(self.at), "seconds": seconds, "rows": [to_dict(row) for row in self.rows]}
        values["start"] = None if self.start is None else to_dict(self.start)
        return State(tensors, values)

    def restore(self, state: State) -> None:
        """Go on from what `state` gave, to the same bits on the same machine in one process."""
        values = dict(state.values)
        self.rows = [from_dict(EpochRow, row) for row in values.pop("rows")]
        start = values.pop("start")
        self.start = None if start is None else from_dict(Tracked, start)
        self.at = Progressed(**{**values, "best": tuple(values["best"])})
        self.model.load_state_dict({**self.model.state_dict(), **part("model", state)})
        self.best = {**self.best, **{k: v.to(self.best[k].device) for k, v in part("best", state).items()}}
        restore_optimisers(self.optimisers, part("optimiser", state))
        for name, kept in part("generator", state).items():
            self.generators[name].set_state(kept)
        self.loss.restore(part("objective", state))
        self.added.restore(part("added", state))
        self.place.restore(part("place", state))
        torch.default_generator.set_state(state.tensors["dropout/cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state.tensors["dropout/cuda"], self.device)
        self.order = state.tensors.get("order")
        if self.place.rank:  # what was written are process 0's numbers: the others need other ones
            fresh = stream(self.seed, f"objective/{self.place.rank}/{self.at.step}")
            self.generators["objective"] = fresh
            torch.manual_seed(int(fresh.initial_seed()) % 2**63)

    def _check(self, loss: float, what: str = "loss") -> None:
        how = self.plan.dynamics
        if not isfinite(loss):
            raise UsageError(
                f"the {what} is {abs(loss)} at step {self.at.step + (what == 'loss')} in epoch {self.at.epoch + 1} of "
                f"{how.epochs}: lower the learning rate ({how.learning_rate:g}){self.kept}"
            )

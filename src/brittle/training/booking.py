"""The books of a run: how far it is, and what a finished epoch leaves: a row, the best epoch so far, patience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from brittle.results.training import EpochRow, Tracked
from brittle.training.plan import Plan
from brittle.training.protocols import Judged


@dataclass
class Progressed:
    """How far a run is: numbers that JSON holds.

    Attributes:
        epoch: finished epochs.
        batch: finished batches of the epoch under way.
        step: finished steps.
        losses: sum of the objective over the `samples` of the epoch under way.
        best: the rank of the best epoch: accuracy and minus the loss on validation, where no judge says another.
        best_epoch: its number, 0 before the first.
        lowest: the lowest validation loss so far, or what the judge has patience watch.
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


@dataclass(frozen=True)
class Closing:
    """What is known of a model at the end of an epoch.

    Attributes:
        accuracy: on the validation split.
        loss: plain cross-entropy there.
        penalties: their values, before their strengths.
        tracked: what was watched.
        judged: by the plan's judge; None where it has none.
    """

    accuracy: float
    loss: float
    penalties: dict[str, float]
    tracked: Tracked | None = None
    judged: Judged | None = None


def close_books(at: Progressed, plan: Plan, rates: Sequence[float], closing: Closing) -> EpochRow:
    """Book the epoch under way: its row. It is the best so far where `at.best_epoch` is its number.

    Args:
        at: brought to the beginning of the next epoch.
        plan: of the run.
        rates: the learning rate of every step.
        closing: what the epoch came to.
    """
    judged = Judged((closing.accuracy, -closing.loss), closing.loss) if closing.judged is None else closing.judged
    at.epoch += 1
    at.seen += at.samples
    if judged.rank > at.best:
        at.best, at.best_epoch = judged.rank, at.epoch
    at.waited = 0 if judged.lost < at.lowest else at.waited + 1
    at.lowest = min(at.lowest, judged.lost)
    patience = plan.dynamics.patience
    at.stopped = patience is not None and at.waited >= patience
    row = EpochRow(
        epoch=at.epoch,
        steps=at.step,
        gradients=plan.objective.cost * at.seen,
        learning_rate=rates[at.step - 1],
        loss=at.losses / at.samples,
        penalties=closing.penalties,
        validation_loss=closing.loss,
        validation_accuracy=closing.accuracy,
        tracked=closing.tracked,
    )
    at.batch, at.losses, at.samples = 0, 0.0, 0
    return row

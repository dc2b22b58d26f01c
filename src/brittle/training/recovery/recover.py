"""Fine-tuning of a compressed net within a budget, the best epoch chosen on the validation split."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from brittle.data.split import Split
from brittle.errors import ModelError
from brittle.evaluation.progress import Progress
from brittle.models.frozen import frozen
from brittle.results.training import TrainingHistory
from brittle.training.engine import Trained
from brittle.training.engine import train as train_by_plan
from brittle.training.fits import check_fits
from brittle.training.place import Here, Place
from brittle.training.protocols import Judge, Judged
from brittle.training.recovery.budget import Spending, spending
from brittle.training.recovery.kinds import check_kind
from brittle.training.recovery.rates import Trial, choose_rate
from brittle.training.recovery.settings import Recovery
from brittle.training.recovery.statistics import recalibrate


@dataclass(frozen=True, eq=False)
class Recovered:
    """The child after its recovery, and how it came about.

    Attributes:
        model: a copy of the child with the best weights, in eval mode.
        history: of the training; its `best_epoch` is the best one of the training alone.
        learning_rate: the peak that was used.
        trials: of learning rates, empty where it was given or the budget too small.
        spent: gradient evaluations for each training image, trials included.
        before: how the child was judged as it came.
        after: how `model` is judged.
        best_epoch: whose weights `model` has; 0: the child as it came, as no epoch was better.
        seconds: wall time of trials and training, all sittings together.
    """

    model: nn.Module
    history: TrainingHistory
    learning_rate: float
    trials: tuple[Trial, ...]
    spent: float
    before: Judged
    after: Judged
    best_epoch: int
    seconds: float


def recover(
    child: nn.Module,
    parent: nn.Module,
    train: Split,
    validation: Split,
    how: Recovery,
    *,
    seed: int,
    checkpoints: Path | None = None,
    every: float = 60.0,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Recovered:
    """Train a copy of `child` as `how` says; neither `child` nor `parent` is changed.

    The best epoch is kept: with a threat the one with the highest accuracy under ten steps of PGD on at most 1,000
    validation samples, ties to the higher clean accuracy; without one the highest clean validation accuracy, ties to
    the lower loss (see `Recovery.judge`). The child as it came counts as epoch 0. Running statistics of batch norm are
    measured again before the first step, by forward passes.

    Args:
        child: a compressed net, pixels (b, *shape) in [0, 1] -> logits (b, classes).
        parent: what it was made from: the teacher of "distil".
        train: the samples to learn from.
        validation: the samples to choose learning rate and epoch by.
        how: kind, budget and the rest.
        seed: of all randomness.
        checkpoints: a folder to go on from, as in `engine.train`; trials of learning rates are kept there too.
        every: least seconds between two states.
        progress: told after each step, with the number of all steps.
        place: device and precision; None for where the child is.

    Raises:
        ModelError: a child without parameters to train or that does not take the samples, or a parent with other
            classes.
        DataError: labels beyond the model's classes.
        UsageError: a budget too small for one batch, zeros or low-rank layers to hold where there are none, a folder
            that cannot be used, or a loss that is no number.
    """
    objective = check_kind(how.kind, how.threat).objective(how, parent)
    judge = how.judge
    spending(how.budget, objective.cost, len(train), how.batch_size)  # refuses what pays for nothing
    where = Here() if place is None else place
    start = copy.deepcopy(child)
    if not any(p.requires_grad for p in start.parameters()):
        raise ModelError("the child has no parameters to train: nothing to recover")
    where.put(start)
    check_fits(start, train, validation)
    _check_classes(start, parent, validation)
    before = _judged(judge, start, validation, seed)
    ready = copy.deepcopy(start)
    recalibrate(ready, train.x, how.batch_size)
    seconds = 0.0

    def trained(stage: str, rate: float, length: Spending) -> Trained:
        return train_by_plan(
            copy.deepcopy(ready),
            train,
            validation,
            how.plan(objective, rate, length),
            seed=seed,
            checkpoints=checkpoints,
            every=every,
            progress=_remarks(progress),
            stepped=None if progress is None else lambda done, total: progress(stage, done, total),
            place=where,
        )

    def tried(rate: float, length: Spending) -> tuple[float, float]:
        nonlocal seconds
        result = trained(f"trying learning rate {rate:g}", rate, length)
        seconds += result.history.seconds
        return _judged(judge, result.model, validation, seed).rank

    rate, trials = how.learning_rate, tuple[Trial, ...]()
    if rate is None:
        rate, trials = choose_rate(how.optimiser, how.budget, objective.cost, len(train), how.batch_size, tried)
    paid = sum(trial.gradients for trial in trials)
    length = spending(how.budget - paid, objective.cost, len(train), how.batch_size)
    result = trained("recovery", rate, length)
    after = _judged(judge, result.model, validation, seed)
    improved = after.rank > before.rank
    return Recovered(
        model=result.model if improved else start.eval(),
        history=result.history,
        learning_rate=rate,
        trials=trials,
        spent=paid + result.history.rows[-1].gradients / len(train),
        before=before,
        after=after if improved else before,
        best_epoch=result.history.best_epoch if improved else 0,
        seconds=seconds + result.history.seconds,
    )


def _remarks(progress: Progress | None) -> Progress:
    """Remarks alone: steps are told in place of epochs."""

    def remark(stage: str, done: int, total: int) -> None:
        if progress is not None and total == 0:
            progress(stage, 0, 0)

    return remark


def _judged(judge: Judge, model: nn.Module, validation: Split, seed: int) -> Judged:
    with frozen(model):
        return judge(model, validation, seed=seed)


def _check_classes(child: nn.Module, parent: nn.Module, validation: Split) -> None:
    x = validation.x[:2]
    like = next(parent.parameters(), x)
    with frozen(parent), frozen(child), torch.no_grad():
        theirs, ours = parent(x.to(like)).shape, child(x.to(next(child.parameters()))).shape
    if theirs != ours:
        raise ModelError(
            f"the child has {ours[1]} classes, its parent {tuple(theirs)[1:]}: give the net it was made of"
        )

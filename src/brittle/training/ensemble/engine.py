"""Training a whole stack: the engine's `train`, for all members at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.evaluation.progress import Progress
from brittle.models.recipe import Recipe, build
from brittle.results.training import TrainingData
from brittle.training.engine import Trained
from brittle.training.ensemble.book import close_epoch
from brittle.training.ensemble.steps import Steps, check_numbers
from brittle.training.ensemble.together import check_counts, why_not
from brittle.training.fits import check_fits
from brittle.training.history import history_of
from brittle.training.place import Here
from brittle.training.plan import Plan
from brittle.training.protocols import Watch


def train_ensemble(
    members: Recipe | Sequence[nn.Module],
    train: Split,
    validation: Split,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    *,
    device: str | None = None,
    track: Watch | None = None,
    progress: Progress | None = None,
) -> tuple[Trained, ...]:
    """Train M nets of one architecture at once; each becomes what `engine.train` would make of it, up to rounding.

    Member m sees the samples in the order of its own seed, has its own labels where they are noisy, its own learning
    rate, schedule, weight decay, momentum, gradient noise, clipping, patience and penalty strengths. Everything else in
    the plans must agree, and layers that draw random numbers in training (dropout) cannot be stacked; `train_many`
    sorts such members apart. Nothing is kept on disk. A member whose patience has run out keeps its place until the end
    but changes no more. The same seeds on the same machine with the same number of threads give the same weights.

    Args:
        members: the models, trained in place; or a recipe, to be built with each of the seeds.
        train: the samples to learn from.
        validation: the samples to choose each member's epoch by.
        plans: one for each member.
        seeds: one for each member.
        device: such as "cpu" or "cuda"; None for where the models are.
        track: what to watch beside the losses, member by member.
        progress: told after each epoch.

    Returns:
        The members in their order. Their histories share the wall time equally.

    Raises:
        UsageError: lists of different lengths, members that cannot be trained at once (the message says why), or a loss
            that is no number: the message says whose and at which step. The models then have the weights of their best
            epochs so far.
        ModelError: as `engine.train`.
        DataError: as `engine.train`.
    """
    models = members_of(members, seeds)
    check_counts(models, plans, seeds)
    put(models, device)
    check_fits(models[0], train, validation)
    why = why_not(models, plans, train)
    if why:
        raise UsageError(f"these nets cannot be trained at once: {why}; train_many sorts them")
    return train_stack(models, train, validation, plans, seeds, track=track, progress=progress)


def members_of(members: Recipe | Sequence[nn.Module], seeds: Sequence[int]) -> list[nn.Module]:
    """The models themselves, or nets of the recipe with weights drawn from each of the seeds."""
    return [build(members, seed=seed) for seed in seeds] if isinstance(members, Recipe) else list(members)


def put(models: Sequence[nn.Module], device: str | None) -> None:
    """Move the models, if a device is given.

    Raises:
        UsageError: no such device here.
        ModelError: a model without parameters to train.
    """
    for model in models:
        if not any(p.requires_grad for p in model.parameters()):
            raise ModelError("the model has no parameters: nothing to train")
        Here(device).put(model)


def train_stack(
    models: Sequence[nn.Module],
    train: Split,
    validation: Split,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    *,
    track: Watch | None = None,
    progress: Progress | None = None,
) -> tuple[Trained, ...]:
    """`train_ensemble` for members of which `why_not` had nothing to say."""
    started = time.monotonic()
    steps = Steps(models, train, validation, plans, seeds)
    runs, stack, epochs = steps.runs, steps.stack, plans[0].dynamics.epochs
    best = [value.clone() for value in stack.changing()]
    try:
        for run in runs:
            run.start = run.look(track, 0)
        while not all(run.finished for run in runs):
            epoch, scores = steps.epoch(), steps.scores()
            check_numbers(runs, epoch.losses + epoch.added, scores[:, 1])
            done = max(run.at.epoch for run in runs) + 1
            if track is not None:
                stack.write(stack.changing(), models)
            tracked = [None if run.finished else run.look(track, done) for run in runs]
            better = close_epoch(runs, epoch.losses, epoch.sizes, scores, steps.penalties(), tracked)
            _keep(best, stack.changing(), better)
            if progress is not None:
                progress("training", done, epochs)
    finally:
        stack.write(best, models)
        for model in models:
            model.eval()
    seconds = (time.monotonic() - started) / len(runs)
    data = [TrainingData(len(split), split.sha256()) for split in (train, validation)]
    return tuple(Trained(run.model, history_of(run, data[0], data[1], seconds)) for run in runs)


@torch.no_grad()
def _keep(best: Sequence[Tensor], now: Sequence[Tensor], better: Sequence[bool]) -> None:
    """Take over the rows of the members that are better now."""
    chosen = torch.tensor(better, device=now[0].device)
    for kept, value in zip(best, now, strict=True):
        kept[chosen] = value[chosen]

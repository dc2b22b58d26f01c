"""The training engine: a plan, carried out step by step, with checkpoints to go on from and a history of what happened.

Any loss is a number per sample, any penalty a function of the chosen layers' matrices; the best epoch on the
validation split is what comes back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import brittle
from brittle.data.split import Split
from brittle.errors import DataError, ModelError
from brittle.evaluation.checkpoint import State
from brittle.evaluation.progress import Progress
from brittle.models.frozen import frozen
from brittle.models.messages import first_line
from brittle.models.recipe import recipe_of
from brittle.results.training import (
    TRAINING_SCHEMA,
    NoiseSetting,
    PenaltySetting,
    Tracked,
    TrainingData,
    TrainingHistory,
    TrainingSettings,
)
from brittle.training.checkpoint import Checkpoints, run_key
from brittle.training.engine_run import Run
from brittle.training.noise import stream
from brittle.training.place import Here, Place
from brittle.training.plan import Plan
from brittle.training.protocols import Watch


@dataclass(frozen=True, eq=False)
class Trained:
    """The model with the weights of its best epoch, in eval mode, and how it came about."""

    model: nn.Module
    history: TrainingHistory


def train(
    model: nn.Module,
    train: Split,
    validation: Split,
    plan: Plan,
    *,
    seed: int,
    checkpoints: Path | None = None,
    every: float = 60.0,
    track: Watch | None = None,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Trained:
    """Train `model` in place by `plan` and give it the weights of its best epoch on `validation`, in eval mode.

    The best epoch is the one with the highest validation accuracy, ties to the lower loss. The same seed on the same
    machine with the same number of threads gives the same weights, dropout included; the global random state is left
    as it was. Gradients of a step: of the mean of the objective's losses plus the penalties, then noise, then clipping.

    Args:
        model: pixels (b, *shape) in [0, 1] -> logits (b, classes).
        train: the samples to learn from.
        validation: the samples to choose the epoch by.
        plan: what to do.
        seed: of all randomness.
        checkpoints: a folder to keep the state of the run in. The same call with the same folder goes on from there,
            after a kill at any moment too, to the same bits as without it (in one process); a finished run answers at
            once. What belongs to another run, or is damaged, is ignored: see `Checkpoints`.
        every: least seconds between two states.
        track: what to watch beside the losses, such as a `Tracker`.
        progress: told after each epoch; with `checkpoints` also where the run goes on from.
        place: device, precision, processes; None for where the model is.

    Raises:
        ModelError: a model without parameters to train, or that does not take the samples.
        DataError: labels beyond the model's classes.
        UsageError: a plan that does not fit the model, a folder that cannot be used, or a loss that is no number: the
            message says at which step. The model then has the weights of its best epoch so far (those it came with
            before the first), and the folder keeps the last state whose loss was a number.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError("the model has no parameters: nothing to train")
    where = Here() if place is None else place
    device = where.put(model)
    _check_fits(model, train, validation)
    data = tuple(TrainingData(len(split), split.sha256()) for split in (train, validation))
    kept = "" if checkpoints is None else f"; the last good checkpoint is kept in {checkpoints}"
    run = Run(model, train, validation, plan, seed, where, device, kept)

    def key() -> str:
        facts = f"{device.type} {where.world} {where.precision} {track!r}"
        return run_key(model, plan, run.added.penalties.values(), seed, (d.sha256 for d in data), facts)

    store = Checkpoints(checkpoints, key, every, writes=where.rank == 0)
    clock = _Clock()
    with _dropout_from(seed, where.rank, device):
        try:
            _resume(run, store, progress)
            clock.before = run.at.seconds
            if run.at.step == 0 and run.start is None:
                run.start = _tracked(track, run, 0)
            while not run.finished:
                _epoch(run, store, clock, track)
                if progress is not None:
                    progress("training", run.at.epoch, plan.dynamics.epochs)
            store.finish(lambda: run.state(clock.seconds()))
        finally:
            model.load_state_dict(run.best)
            for optimiser in run.optimisers:
                optimiser.zero_grad(set_to_none=True)
            model.eval()
    return Trained(model, _history(run, data[0], data[1], clock.seconds()))


def _epoch(run: Run, store: Checkpoints, clock: _Clock, track: Watch | None) -> None:
    """The rest of the epoch under way."""

    def state() -> State:
        return run.state(clock.seconds())

    run.model.train()
    for batch in run.open_epoch():
        loss = run.losses(batch)
        store.good()
        run.move(loss)
        store.offer(state)
    score = run.score()
    store.good()
    run.close_epoch(score, _tracked(track, run, run.at.epoch + 1))
    store.offer(state)


def _tracked(track: Watch | None, run: Run, epoch: int) -> Tracked | None:
    """What the tracker sees after this epoch (0: before the first), if it is its turn; the last one is always."""
    if track is None or (epoch % track.every and epoch != run.plan.dynamics.epochs):
        return None
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), frozen(run.model):  # attacks may seed the global state
        return track(run.model, run.validation, seed=run.seed)


def _resume(run: Run, store: Checkpoints, progress: Progress | None) -> None:
    state = store.load()
    if state is not None:
        run.restore(state)
        if progress is not None:
            progress(f"going on from epoch {run.at.epoch + 1}, step {run.at.step + 1}", 0, 0)
    run.place.wait()


class _Clock:
    """Wall time of this sitting, and of those before."""

    def __init__(self) -> None:
        self.before = 0.0
        self._started = time.monotonic()

    def seconds(self) -> float:
        return self.before + time.monotonic() - self._started


@contextmanager
def _dropout_from(seed: int, rank: int, device: torch.device) -> Iterator[None]:
    """Layers that draw random numbers take them from the global state: seed it, and put it back afterwards."""
    own = seed if rank == 0 else stream(seed, f"dropout/{rank}").initial_seed()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(own)
        if device.type == "cuda":
            torch.cuda.manual_seed(own)
        yield


def _check_fits(model: nn.Module, train: Split, validation: Split) -> None:
    """Two samples through the model, as it would be asked later."""
    like = next(model.parameters())
    for split in (train, validation):
        x = split.x[:2].to(like)
        try:
            with torch.random.fork_rng(devices=[]), frozen(model), torch.no_grad():
                logits = model(x)
        except Exception as error:  # whatever the model's code raises
            raise ModelError(
                f"the model does not take samples of shape {tuple(x.shape[1:])} ({first_line(error)}): give a model "
                "and data that belong together"
            ) from None
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(f"expected logits of shape ({len(x)}, classes) from the model, got {got}")
        if int(split.y.max()) >= logits.shape[1]:
            raise DataError(
                f"the model has {logits.shape[1]} classes, the data have labels up to {int(split.y.max())}: give a "
                "model and data that belong together"
            )


def _history(run: Run, train: TrainingData, validation: TrainingData, seconds: float) -> TrainingHistory:
    recipe = recipe_of(run.model)
    return TrainingHistory(
        schema=TRAINING_SCHEMA,
        brittle=brittle.__version__,
        parameters=sum(p.numel() for p in run.model.parameters()),
        recipe=None if recipe is None else recipe.to_dict(),
        train=train,
        validation=validation,
        settings=_settings(run),
        rows=tuple(run.rows),
        best_epoch=run.at.best_epoch,
        stopped_early=run.at.stopped,
        seconds=seconds,
        start=run.start,
    )


def _settings(run: Run) -> TrainingSettings:
    plan, how = run.plan, run.plan.dynamics
    noise = how.gradient_noise
    return TrainingSettings(
        objective=plan.objective.name,
        cost=float(plan.objective.cost),
        epochs=how.epochs,
        batch_size=how.batch_size,
        optimiser=how.optimiser,
        learning_rate=how.learning_rate,
        weight_decay=how.weight_decay,
        momentum=how.momentum,
        schedule=how.schedule,
        label_noise=how.label_noise,
        gradient_noise=None if noise is None else NoiseSetting(noise.alpha, noise.scale),
        patience=how.patience,
        clip=how.clip,
        penalties=tuple(PenaltySetting(p.name, p.strength, p.proximal) for p in plan.penalties),
        layers=tuple(matrix.name for matrix in run.added.matrices),
        hold_scale=plan.hold_scale,
        seed=run.seed,
        device=run.device.type,
        precision=run.place.precision if run.place.precision != "own" else str(run.like.dtype).removeprefix("torch."),
        torch=torch.__version__,
    )

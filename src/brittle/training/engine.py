"""The training engine: a plan, carried out step by step, with checkpoints to go on from and a history of what happened.

Any loss is a number per sample, any penalty a function of the chosen layers' matrices; the best epoch on the
validation split is what comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from brittle.data.split import Split
from brittle.errors import ModelError
from brittle.evaluation.checkpoint import State
from brittle.evaluation.progress import Progress
from brittle.results.training import TrainingData, TrainingHistory
from brittle.training.booking import Closing
from brittle.training.checkpoint import Checkpoints, run_key
from brittle.training.engine_run import Run
from brittle.training.engine_state import restore_run, run_state
from brittle.training.fits import check_fits
from brittle.training.history import history_of
from brittle.training.looks import both_seen
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
    stepped: Callable[[int, int], None] | None = None,
    place: Place | None = None,
) -> Trained:
    """Train `model` in place by `plan` and give it the weights of its best epoch on `validation`, in eval mode.

    The best epoch is the one with the highest validation accuracy, ties to the lower loss, or the one that the plan's
    judge says. The same seed on the same machine with the same number of threads gives the same weights, dropout
    included; the global random state is left as it was. Gradients of a step: of the mean of the objective's losses plus
    the penalties, then noise, then clipping; then what the plan holds.

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
        stepped: told after each step, (finished steps, all steps).
        place: device, precision, processes; None for where the model is.

    Raises:
        ModelError: a model without parameters to train, or that does not take the samples.
        DataError: labels beyond the model's classes.
        UsageError: a plan that does not fit the model, a folder that cannot be used, or (`LostRunError`) a loss that is
            no number: the message says at which step. The model then has the weights of its best epoch so far (those it
            came with before the first), and the folder keeps the last state whose loss was a number. A plan with
            another learning rate is another run: in the same folder it starts from the beginning.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError("the model has no parameters: nothing to train")
    where = Here() if place is None else place
    device = where.put(model)
    check_fits(model, train, validation)
    data = tuple(TrainingData(len(split), split.sha256()) for split in (train, validation))
    run = Run(model, train, validation, plan, seed, where, device)

    def key() -> str:
        facts = f"{device.type} {where.world} {where.precision} {track!r}"
        return run_key(model, plan, run.added.penalties.values(), seed, (d.sha256 for d in data), facts)

    store = Checkpoints(checkpoints, key, every, writes=where.rank == 0)
    run.kept = store.remark
    clock = _Clock()
    with torch.enable_grad(), _dropout_from(seed, where.rank, device):
        try:
            _resume(run, store, progress)
            clock.before = run.at.seconds
            if run.at.step == 0 and run.start is None:
                run.start = run.look(track, 0)
            while not run.finished:
                _epoch(run, store, clock, track, stepped)
                if progress is not None:
                    progress("training", run.at.epoch, plan.dynamics.epochs)
            store.finish(lambda: run_state(run, clock.seconds()))
        finally:
            model.load_state_dict(run.best)
            for optimiser in run.optimisers:
                optimiser.zero_grad(set_to_none=True)
            model.eval()
    return Trained(model, history_of(run, data[0], data[1], clock.seconds()))


def _epoch(
    run: Run,
    store: Checkpoints,
    clock: _Clock,
    track: Watch | None,
    stepped: Callable[[int, int], None] | None,
) -> None:
    """The rest of the epoch under way."""

    def state() -> State:
        return run_state(run, clock.seconds())

    run.model.train()
    for batch in run.open_epoch():
        loss = run.losses(batch)
        store.good()
        run.move(loss)
        store.offer(state)
        if stepped is not None:
            stepped(run.at.step, run.steps)
    run.added.settle_epoch()
    accuracy, minus_loss = run.score()
    store.good()
    judged = run.judge()
    seen = both_seen(run.look(track, run.at.epoch + 1), judged)
    run.close_epoch(Closing(accuracy, -minus_loss, run.added.values(), seen, judged))
    store.offer(state)


def _resume(run: Run, store: Checkpoints, progress: Progress | None) -> None:
    state = store.load()
    if state is not None:
        restore_run(run, state)
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

"""Loads what a training command names, trains it, and writes what came out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from brittle.cli.outputs import STDOUT
from brittle.cli.train_plan import PlanTexts
from brittle.data.dataset import Dataset
from brittle.data.load import load_data
from brittle.errors import DataError, UsageError
from brittle.evaluation.progress import Progress
from brittle.files import write_text
from brittle.models.file import save
from brittle.models.load import load_model
from brittle.report.training_page import write_training_html
from brittle.results.serialise import dumps
from brittle.training.accelerated import Accelerated
from brittle.training.engine import Trained, train
from brittle.training.place import Here, Place
from brittle.training.plan import Dynamics

# A state is written at most once in this many seconds for each 100,000 parameters, and at least once a minute.
_EVERY, _LEAST_OFTEN = 1.0, 60.0
_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class TrainRequest:
    """What the user typed."""

    model: str
    weights: str | None
    data: str
    seed: int
    device: str
    mixed_precision: str | None
    track: int | None
    resume: Path | None
    command: str


@dataclass(frozen=True)
class TrainOutputs:
    """Files asked for; `json` may be "-" for stdout."""

    out: Path
    html: Path | None
    json: Path | None


@dataclass(frozen=True, eq=False)
class Session:
    """A finished run; `writes` is False in the processes beside the first."""

    trained: Trained
    model: str
    data: str
    writes: bool


def run_training(request: TrainRequest, texts: PlanTexts, dynamics: Dynamics, progress: Progress | None) -> Session:
    """Load model and data, train.

    Raises:
        BrittleError: options, model or data that cannot be used or do not fit, or a loss that is no number.
    """
    plan = texts.plan(dynamics)
    place = _place(request)
    data = load_data(request.data)
    _check_splits(data)
    watch = texts.watch(request.track, dynamics.epochs, data.input_shape)
    loaded = load_model(
        request.model,
        weights=request.weights,
        input_shape=data.input_shape,
        classes=len(data.classes),
        seed=request.seed,
    )
    if loaded.recipe is None:
        raise UsageError(
            f"{request.model} carries no recipe, so the file of --out could not be loaded again: train a zoo:... model "
            "or a file that brittle wrote"
        )
    parameters = sum(p.numel() for p in loaded.module.parameters())
    trained = train(
        loaded.module,
        data.split("train"),
        data.split("validation"),
        plan,
        seed=request.seed,
        checkpoints=request.resume,
        every=min(_LEAST_OFTEN, _EVERY * max(1.0, parameters / 1e5)),
        track=watch,
        progress=progress,
        place=place,
    )
    return Session(trained, loaded.name, data.name, place.rank == 0)


def write_results(session: Session, request: TrainRequest, outputs: TrainOutputs) -> None:
    """The weights first, then the numbers, then the page."""
    history = session.trained.history
    save(session.trained.model.cpu(), outputs.out)
    if outputs.json == STDOUT:
        sys.stdout.write(dumps(history))
        sys.stdout.flush()
    elif outputs.json is not None:
        write_text(outputs.json, dumps(history))
    if outputs.html is not None:
        write_training_html(
            outputs.html, history, title=f"brittle: {session.model}", data=session.data, command=request.command
        )


def _place(request: TrainRequest) -> Place:
    if request.mixed_precision is None:
        return Here(request.device)
    if request.device not in _DEVICES:
        raise UsageError(
            f"mixed precision chooses the GPU itself: give --device {' or '.join(_DEVICES)}, got {request.device!r}"
        )
    return Accelerated(request.mixed_precision, cpu=request.device == "cpu")


def _check_splits(data: Dataset) -> None:
    missing = [name for name in ("train", "validation") if name not in data.splits]
    if missing:
        have = ", ".join(data.splits)
        raise DataError(
            f"training needs the splits train and validation, {data.name} has only {have}: add a training part "
            "(a folder train, or x_train and y_train), from which validation is cut"
        )

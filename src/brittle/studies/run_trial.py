"""Running a trial: its network is made, then measured. What the engine's workers call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from brittle.errors import ModelError, UsageError
from brittle.studies.making import make, make_group
from brittle.studies.measures.scene import Scene
from brittle.studies.measures.table import MEASURES, check_measures
from brittle.studies.tasks import Task, task_of
from brittle.studies.trial import Trial


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What a trial gave.

    Attributes:
        measures: finite numbers by dotted name, such as "robust.linf@0.05"; see `MEASURES` for which.
        arrays: masks of the test samples, (n,) bool, such as "robust.linf@0.05".
    """

    measures: dict[str, float]
    arrays: dict[str, NDArray[Any]]


def run_trial(trial: Trial, *, memory: Path | None = None) -> TrialResult:
    """Make the network of `trial` and measure it: the same numbers every time, with or without `memory`.

    Making it sees training and validation samples only; the test split is met by the measures, after all choices.

    Args:
        trial: the configuration.
        memory: a folder for networks that trials share (the dense parents of post-hoc sources); None: make them anew.

    Raises:
        BrittleError: data, a model, a source or a measure that cannot be had; before any training where that is known.
    """
    _check(trial)
    task = _task(trial, trial.data)
    return measure(make(trial, task.learning, memory), task, trial)


def run_group(trials: Sequence[Trial], *, memory: Path | None = None) -> list[TrialResult]:
    """The results of trials on one task, in their order, networks trained together where that is faster.

    Each is what `run_trial` gives, up to rounding in training, which may grow to another run of the same distribution.

    Args:
        trials: of `batches.groups`: they differ in seed, penalty strength or learning rate.
        memory: as in `run_trial`.

    Raises:
        UsageError: trials on different samples.
        BrittleError: as `run_trial`, from any of them.
    """
    if not trials:
        return []
    for trial in trials:
        _check(trial)
        if _samples(trial) != _samples(trials[0]):
            raise UsageError("a group's trials share their samples: expected one data, train, test and data_seed")
    task = _task(trials[0], trials[0].data)
    nets = make_group(trials, task.learning, memory)
    return [measure(net, task, trial) for net, trial in zip(nets, trials, strict=True)]


def measure(net: nn.Module, task: Task, trial: Trial) -> TrialResult:
    """The trial's measures of a network that is there already.

    Raises:
        ModelError: a measure that is no finite number.
        BrittleError: what the measures raise.
    """
    scene = Scene(net, task, trial, lambda data: _task(trial, data))
    numbers: dict[str, float] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name in trial.measures:
        reading = MEASURES[name](scene)
        numbers.update(reading.numbers)
        arrays.update(reading.arrays)
    broken = [name for name, value in numbers.items() if not torch.tensor(value).isfinite()]
    if broken:
        raise ModelError(
            f"expected a finite {broken[0]}, got {numbers[broken[0]]}: the network may have diverged, lower its rate"
        )
    return TrialResult(numbers, arrays)


def _check(trial: Trial) -> None:
    check_measures(trial.measures)
    if "transfer" in trial.measures and trial.transfer is None:
        raise UsageError("the measure transfer needs the trial's field transfer: give a DATA string of another task")


def _samples(trial: Trial) -> tuple[object, ...]:
    return (trial.data, trial.train, trial.test, trial.data_seed)


def _task(trial: Trial, data: str) -> Task:
    return task_of(data, trial.train, trial.test, trial.data_seed)

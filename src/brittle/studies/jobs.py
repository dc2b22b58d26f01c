"""What goes to a worker and what comes back. Free of torch: the trial function's module brings it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from brittle.errors import UsageError
from brittle.studies.conditions import alone
from brittle.studies.trial import Trial


class Measured(Protocol):
    """What a trial function returns: flat numbers by dotted name, and small arrays such as per-sample masks."""

    @property
    def measures(self) -> Mapping[str, float]:
        """Numbers by dotted name."""
        ...

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Arrays by name."""
        ...


class TrialFunction(Protocol):
    """Runs one trial. Module-level, so that other processes can import it."""

    def __call__(self, trial: Trial, *, memory: Path | None) -> Measured:
        """Make the network of `trial` and measure it; `memory` is a folder for what trials share."""
        ...


class GroupFunction(Protocol):
    """Runs trials of `batches.groups` together: the same results as alone, up to rounding."""

    def __call__(self, trials: Sequence[Trial], *, memory: Path | None) -> Sequence[Measured]:
        """Results in the order of `trials`."""
        ...


@dataclass(frozen=True)
class Work:
    """What a worker needs to know once: the functions, and the folder that trials share."""

    trial_function: TrialFunction
    group_function: GroupFunction | None = None
    memory: Path | None = None


@dataclass(frozen=True)
class Job:
    """Trials to run together (one, without a group function), and which of them still want an answer."""

    trials: tuple[Trial, ...]
    keys: tuple[str, ...]
    wanted: frozenset[str]


@dataclass(frozen=True, eq=False)
class Finished:
    """A trial's answer.

    Attributes:
        key: of the trial.
        measures: numbers by dotted name; plain floats.
        arrays: by name.
        seconds: wall time; of trials run together their equal share.
        together: how many were trained together, 1 for alone.
    """

    key: str
    measures: dict[str, float]
    arrays: dict[str, NDArray[Any]]
    seconds: float
    together: int = 1


@dataclass(frozen=True)
class Failed:
    """A trial that raised, and where."""

    key: str
    traceback: str


def perform(job: Job, work: Work) -> tuple[Finished | Failed, ...]:
    """Run a job, each trial under the same conditions wherever it runs; what it raises becomes a `Failed`.

    Where a group fails its members are run alone, so that one of them cannot take the others with it.
    """
    if len(job.trials) > 1 and work.group_function is not None:
        try:
            return _together(job, work)
        except Exception:  # the members tell, one by one
            pass
    wanted = [(trial, key) for trial, key in zip(job.trials, job.keys, strict=True) if key in job.wanted]
    return tuple(_one(trial, key, work) for trial, key in wanted)


def _one(trial: Trial, key: str, work: Work) -> Finished | Failed:
    started = time.monotonic()
    try:
        with alone():
            measured = work.trial_function(trial, memory=work.memory)
        return _finished(key, measured, time.monotonic() - started, 1)
    except Exception:
        return Failed(key, traceback.format_exc())


def _together(job: Job, work: Work) -> tuple[Finished, ...]:
    assert work.group_function is not None
    started = time.monotonic()
    with alone():
        measured = work.group_function(job.trials, memory=work.memory)
    size = len(job.trials)
    share = (time.monotonic() - started) / size
    return tuple(
        _finished(key, one, share, size) for key, one in zip(job.keys, measured, strict=True) if key in job.wanted
    )


def _finished(key: str, measured: Measured, seconds: float, together: int) -> Finished:
    """Plain floats and arrays without objects.

    Raises:
        UsageError: an array of objects, which no file can hold safely.
    """
    arrays = dict(measured.arrays)
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise UsageError(f"array {name!r} holds Python objects: a trial's arrays must be numbers or booleans")
    return Finished(key, {name: float(value) for name, value in measured.measures.items()}, arrays, seconds, together)

"""Trials that cost nothing, in a module that other processes can import. `memory` keeps a log of what was run."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brittle.studies.trial import Trial


@dataclass(frozen=True)
class Made:
    measures: dict[str, float]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def log(memory: Path | None, text: str) -> None:
    if memory is not None:
        handle = os.open(memory / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{os.getpid()} {text}\n".encode())  # one write: lines of processes do not mix
        os.close(handle)


def logged(memory: Path) -> list[str]:
    """What was run, without the processes."""
    if not (memory / "log").exists():
        return []
    return [line.split(" ", 1)[1] for line in (memory / "log").read_text().splitlines()]


def processes(memory: Path) -> set[int]:
    return {int(line.split()[0]) for line in (memory / "log").read_text().splitlines()}


def answer(trial: Trial) -> Made:
    generator = np.random.default_rng([trial.seed, trial.training.epochs])
    return Made({"clean": float(generator.random()), "seed": trial.seed}, {"right": generator.random(7) > 0.5})


def cheap(trial: Trial, *, memory: Path | None) -> Made:
    log(memory, f"seed {trial.seed}")
    return answer(trial)


def quick(trial: Trial, *, memory: Path | None) -> Made:
    """Seed 3 fails."""
    if trial.seed == 3:
        raise ValueError("made to fail")
    return cheap(trial, memory=memory)


def slow(trial: Trial, *, memory: Path | None) -> Made:
    """The same in 10 ms."""
    time.sleep(0.01)
    return quick(trial, memory=memory)


def lasting(trial: Trial, *, memory: Path | None) -> Made:
    """As long as anybody waits."""
    log(memory, f"seed {trial.seed}")
    time.sleep(60)
    return answer(trial)


def fails_once(trial: Trial, *, memory: Path | None) -> Made:
    """Seed 1 fails until it has been tried twice."""
    log(memory, f"seed {trial.seed}")
    assert memory is not None
    if trial.seed == 1 and logged(memory).count("seed 1") < 3:
        raise ValueError("not yet")
    return answer(trial)


def dies(trial: Trial, *, memory: Path | None) -> Made:
    """Seed 1 takes its process with it."""
    if trial.seed == 1:
        os._exit(7)
    return answer(trial)


def careless(trial: Trial, *, memory: Path | None) -> Made:
    """Draws from global generators."""
    return Made({"numpy": np.random.random(), "python": random.random()})


def interrupted(trial: Trial, *, memory: Path | None) -> Made:
    if trial.seed == 1:
        raise KeyboardInterrupt
    return answer(trial)


def whole_group(trials: Sequence[Trial], *, memory: Path | None) -> list[Made]:
    log(memory, "group " + " ".join(str(trial.seed) for trial in trials))
    return [answer(trial) for trial in trials]


def broken_group(trials: Sequence[Trial], *, memory: Path | None) -> list[Made]:
    raise ValueError("no groups today")


def wrong_array(trial: Trial, *, memory: Path | None) -> Made:
    return Made({}, {"objects": np.array([object()])})


def environment(trial: Trial, *, memory: Path | None) -> Made:
    return Made({"threads": float(os.environ.get("OMP_NUM_THREADS", "0")), "pid": os.getpid()})


def trials(count: int) -> tuple[Trial, ...]:
    return tuple(Trial(seed=seed) for seed in range(count))


def forgetful_group(trials: Sequence[Trial], *, memory: Path | None) -> list[Made]:
    return [answer(trial) for trial in trials[1:]]

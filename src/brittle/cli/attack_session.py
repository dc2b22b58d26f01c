"""Loads what an attack command names, runs it, and writes the attacked images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brittle.auditing.attack_options import AttackOptions
from brittle.auditing.attacking import Attacking, attack_one
from brittle.auditing.run import Subject
from brittle.auditing.store import attack_memory
from brittle.cli.session import load_subject
from brittle.data.load import load_data
from brittle.errors import UsageError
from brittle.evaluation.progress import Progress
from brittle.files import replacing


@dataclass(frozen=True)
class AttackRequest:
    """What the user typed."""

    model: str
    weights: str | None
    surrogate: str | None
    surrogate_weights: str | None
    data: str
    resume: Path | None
    command: str
    images: bool


def run_attack(request: AttackRequest, options: AttackOptions, progress: Progress | None) -> Attacking:
    """Load model, surrogate and data, and attack.

    Raises:
        UsageError: a target class that the data do not have, or images asked for of none or of several radii; else
            what loading and `attack_one` raise.
    """
    data = load_data(request.data)
    if request.images and (len(options.threats(data.input_shape)) != 1 or not options.chain):
        raise UsageError(
            "--out holds the attacked images of one radius: name an attack at a radius, such as --attack apgd, and one "
            "--epsilon"
        )
    if options.target is not None and not 0 <= options.target < len(data.classes):
        raise UsageError(f"the target must be a class from 0 to {len(data.classes) - 1}, got {options.target}")
    subject = load_subject(request.model, request.weights, data)
    other = None
    if request.surrogate is not None:
        other = load_subject(request.surrogate, request.surrogate_weights, data)
        if other.name == subject.name:
            other = Subject(other.model, f"{other.name} (surrogate)", other.notes)
    memory = None if request.resume is None else attack_memory(subject, data, options, request.resume)
    return attack_one(
        subject, data, options, surrogate=other, memory=memory, command=request.command, progress=progress
    )


def write_images(place: Path, made: Attacking) -> None:
    """Attacked pixels x_test (n, *shape), labels y_test (n,) and class names: what the data form `npz:` reads.

    Raises:
        UsageError: the file cannot be written.
    """
    (x_adv,) = made.x_adv.values()
    y = np.array(made.result.outcomes.labels, dtype=np.int64)
    try:
        with replacing(place) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, x_test=x_adv.numpy(), y_test=y, classes=np.array(made.result.data.classes))
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror}; choose a folder that is writable") from error

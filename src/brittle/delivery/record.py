"""What a compression found, as its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

import brittle
from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, model_info
from brittle.delivery.gate import drops, gate
from brittle.delivery.job import Job
from brittle.delivery.layer_changes import layer_changes
from brittle.delivery.measuring import Measured
from brittle.delivery.points import PARENT, marked, point
from brittle.delivery.scoring import Scoring, scored_by
from brittle.delivery.sizes import size_of
from brittle.delivery.stages import Made
from brittle.delivery.sweep import Sweep
from brittle.results.audit import DataInfo, Settings
from brittle.results.compression import (
    COMPRESSION_SCHEMA,
    CompressionResult,
    FittedOn,
    Prediction,
    RecoveryRecord,
)
from brittle.results.serialise import from_dict

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Found:
    """A compression's parts: the child before and after its recovery, what was measured, other networks.

    `recovered` is False where the time limit stopped the recovery, so that `made` is `start`.
    """

    start: Made
    made: Made
    recovered: bool
    measured: Measured
    others: Sweep


def record(job: Job, scoring: Scoring, found: Found, child: str, command: str, seconds: float) -> CompressionResult:
    """The record of a compression whose smaller network is called `child`."""
    options, shape = job.options, job.data.input_shape
    base, mine = found.measured.parent, found.measured.child
    front = (
        point(PARENT, PARENT, 1.0, job.parent.model, scored_by(base)),
        point(f"{options.method} at {options.keep:g}", options.method, options.keep, found.made.model, scored_by(mine)),
        *found.others.points,
    )
    order = [point.method for point in front]
    lost = drops(mine)
    return CompressionResult(
        schema=COMPRESSION_SCHEMA,
        brittle=brittle.__version__,
        seed=options.seed,
        parent=model_info(job.parent),
        child=model_info(Subject(found.made.model, child)),
        data=DataInfo(job.data.name, "test", mine.data.samples, mine.data.sha256, mine.data.classes),
        fitted=_fitted_on(job),
        asked=options.asked(shape),
        parent_size=size_of(job.parent.model, shape, None),
        child_size=size_of(found.made.model, shape, found.start.values["bits"]),
        layers=layer_changes(job.parent.model, found.made.model),
        prediction=_kept(Prediction, found.start, "prediction"),
        recovery=_kept(RecoveryRecord, found.made, "recovery"),
        parent_scores=scored_by(base),
        before_recovery=found.measured.before,
        after=scored_by(mine),
        drops=lost,
        verdict=mine.verdict,
        front=marked(sorted(front, key=lambda point: (order.index(point.method), -point.keep))),
        gate=gate(lost, options.max_drop),
        notes=_notes(job, found),
        settings=_settings(scoring.options, command, seconds),
        partial=not (found.recovered and found.measured.complete and found.others.complete),
    )


def _kept(cls: type[T], made: Made, name: str) -> T | None:
    """A record that a stage left in its values."""
    values = made.values.get(name)
    return None if values is None else from_dict(cls, values)


def _notes(job: Job, found: Found) -> tuple[str, ...]:
    notes = [*job.parent.notes, *found.start.values["notes"]]
    if job.source != "train":
        notes.append(f"the data have no training split: choices and recovery used {job.source}, scores the other half")
    if not found.recovered:
        notes.append("the recovery was stopped at the time limit: the weights are those before it")
    if not found.measured.complete:
        notes.append("the attacks were stopped at the time limit: scores under attack are missing")
    return (*notes, *found.others.notes)


def _fitted_on(job: Job) -> FittedOn:
    train, validation = job.data.split("train"), job.data.split("validation")
    return FittedOn(
        split=job.source,
        train=len(train),
        validation=len(validation),
        evidence=min(job.options.evidence, len(train)),
        sha256=train.sha256(),
    )


def _settings(options: AuditOptions, command: str, seconds: float) -> Settings:
    dtype = str(options.dtype).removeprefix("torch.")
    return Settings(command, options.effort, options.batch_size, dtype, options.device, torch.__version__, seconds)

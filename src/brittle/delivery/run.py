"""A network and a size in, a smaller network out: compressed, recovered, measured against its parent.

The order: everything is checked; what cannot be done is refused; the networks are made; parent and child are audited
on the same samples; with a sweep, other sizes and rival methods are made and scored alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from torch import nn

from brittle.auditing.run import Subject
from brittle.data.dataset import Dataset
from brittle.delivery.checks import check_request
from brittle.delivery.clock import Clock, TimeIsUpError
from brittle.delivery.job import Job
from brittle.delivery.making import check_budget
from brittle.delivery.measuring import measure
from brittle.delivery.options import CompressOptions
from brittle.delivery.record import Found, record
from brittle.delivery.scoring import Scoring
from brittle.delivery.stages import Made
from brittle.delivery.sweep import Sweep, sweep
from brittle.evaluation.progress import Progress
from brittle.results.compression import CompressionResult


@dataclass(frozen=True, eq=False)
class Compression:
    """The smaller network on the CPU, its record, and a sweep's other networks by the share asked for."""

    model: nn.Module
    result: CompressionResult
    siblings: Mapping[float, nn.Module]


def deliver(
    parent: Subject,
    data: Dataset,
    options: CompressOptions,
    *,
    child: str,
    folder: Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Compression | None:
    """Compress `parent` as `options` say; None where the time limit came before there was a smaller network.

    Args:
        parent: the model, left as it was.
        data: choices and recovery use its training part, scores its test split.
        options: what is asked for.
        child: the name of the smaller network in results.
        folder: where finished stages are kept, so that the same call goes on from there; None for nowhere.
        command: as typed, for the record.
        progress: told (stage, done, total).

    Raises:
        BrittleError: bad input, or a size or a network that the method cannot do, before any long work.
        SoundnessError: a certificate was contradicted (a bug of ours).
    """
    started = perf_counter()
    clock = Clock.start(options.time_limit)
    check_request(parent, data, options)
    job = Job.begin(parent, data, options, folder, clock, progress)
    check_budget(job)
    starts: dict[float, Made] = {}
    try:  # all sizes first, so that one that cannot be reached is refused before anything is trained
        for share in (options.keep, *options.sweep):
            if share not in starts:
                starts[share] = job.compressed(options.method, share)
    except TimeIsUpError:
        if options.keep not in starts:
            return None
    start = starts[options.keep]
    scoring = Scoring.of(parent.model, job.data, options.audit(), folder)
    made, recovered = start, True
    try:
        made = job.recovered(options.method, options.keep, start)
    except TimeIsUpError:
        recovered = False
    measured = measure(job, scoring, start, made, child, command)
    others = sweep(job, scoring, starts) if options.sweep else Sweep()
    found = Found(start, made, recovered, measured, others)
    result = record(job, scoring, found, child, command, perf_counter() - started)
    return Compression(made.model, result, others.models)

"""Loads what an audit command names and runs it: the base first, then each child, all on the same samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from brittle.auditing.black_box import fair_verdict
from brittle.auditing.crossing import crossed
from brittle.auditing.options import AuditOptions
from brittle.auditing.prepare import check_model
from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject
from brittle.auditing.store import audit_kept
from brittle.compare import compare
from brittle.data.dataset import Dataset
from brittle.data.load import load_data
from brittle.errors import UsageError
from brittle.evaluation.progress import Progress
from brittle.models.load import load_model
from brittle.results.audit import Audit

# Time left when there is none: attacks that have not begun are skipped and marked.
_NO_TIME = 1e-6


@dataclass(frozen=True)
class AuditRequest:
    """What the user typed: MODEL strings with their weights, the base, DATA."""

    models: tuple[str, ...]
    weights: tuple[str, ...]
    against: str | None
    against_weights: str | None
    data: str
    resume: Path | None
    command: str


def run_audits(request: AuditRequest, options: AuditOptions, progress: Progress | None) -> tuple[Audit, ...]:
    """The base's audit first (if there is a base), then one for each MODEL, compared with the base.

    Everything is loaded and checked before the first measurement. The time limit is for all audits together.
    """
    deadline = None if options.time_limit is None else monotonic() + options.time_limit
    data = load_data(request.data)
    subjects = [load_subject(spec, weights, data) for spec, weights in _pairs(request)]
    options.threats(data.input_shape)
    split = data.split("test").take(options.samples, options.seed)
    seen = [check_model(one.model, split.x, split.y, options.device, black_box=True) for one in subjects]
    base = subjects[0] if request.against is not None else None
    audits: list[Audit] = []
    for subject, gradients in zip(subjects, seen, strict=True):
        left = None if deadline is None else max(deadline - monotonic(), _NO_TIME)
        audit = audit_kept(
            subject,
            data,
            replace(options, time_limit=left),
            folder=request.resume,
            surrogate=None if gradients or subject is base else base,
            command=request.command,
            progress=prefixed(progress, f"{subject.name}: "),
        )
        if request.against is not None and audits and not (audit.partial or audits[0].partial):
            audit = fair_verdict(compare(audits[0], audit, options.max_drop), audits[0])
            audit = crossed(
                audit, subjects[0], subject, data, options, progress=prefixed(progress, f"{subject.name}: ")
            )
        audits.append(audit)
    return tuple(audits)


def _pairs(request: AuditRequest) -> list[tuple[str, str | None]]:
    waiting = list(request.weights)
    pairs: list[tuple[str, str | None]] = []
    for spec in request.models:
        takes = not spec.endswith(".safetensors")
        pairs.append((spec, waiting.pop(0) if takes and waiting else None))
    if waiting:
        raise UsageError(f"--weights {waiting[0]} has no MODEL that takes weights: give one for each architecture")
    if request.against is not None:
        pairs.insert(0, (request.against, request.against_weights))
    return pairs


def load_subject(spec: str, weights: str | None, data: Dataset) -> Subject:
    """The model behind a MODEL string, fit for the data."""
    loaded = load_model(spec, weights=weights, input_shape=data.input_shape, classes=len(data.classes))
    # people know a published net by its file; the architecture stands in the recipe
    return Subject(loaded.module, loaded.name if weights is None else Path(weights).name, loaded.notes)

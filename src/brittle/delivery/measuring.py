"""Parent and child audited on the same samples, and the child before its recovery scored like them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject
from brittle.auditing.store import audit_kept
from brittle.compare import compare
from brittle.delivery.job import Job
from brittle.delivery.scoring import Scoring
from brittle.delivery.stages import Made
from brittle.results.audit import Audit
from brittle.results.compression import Scored


@dataclass(frozen=True)
class Measured:
    """Two audits, the child's compared with the parent's where both are whole; `before` is None without a recovery."""

    parent: Audit
    child: Audit
    before: Scored | None
    complete: bool


def measure(job: Job, scoring: Scoring, start: Made, made: Made, name: str, command: str) -> Measured:
    """Audit parent and child, and score `start`, the child before its recovery, unless it is `made` itself.

    Raises:
        ModelError: a child that cannot be measured.
        SoundnessError: a certificate was contradicted (a bug of ours).
    """
    parent = _audit(job, scoring, job.parent, command)
    child = _audit(job, scoring, Subject(made.model, name), command)
    complete = not (parent.partial or child.partial)
    if complete:
        child = compare(parent, child, scoring.options.max_drop)
    before = None
    if made is not start:
        before = scoring.score(start.model, f"{name} before recovery", deadline=job.clock.end, progress=job.progress)
        complete &= scoring.complete(before)
    return Measured(parent, child, before, complete)


def _audit(job: Job, scoring: Scoring, subject: Subject, command: str) -> Audit:
    return audit_kept(
        subject,
        job.data,
        replace(scoring.options, time_limit=job.clock.left()),
        folder=job.folder,
        command=command,
        progress=prefixed(job.progress, f"{subject.name}: "),
    )

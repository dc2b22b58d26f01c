"""Finished audits kept in a folder, so that a parent is measured once and an interrupted series goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from torch import nn

import brittle
from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, audit_one
from brittle.data.dataset import Dataset
from brittle.errors import DataError
from brittle.evaluation.progress import Progress
from brittle.files import write_text
from brittle.results.audit import Audit
from brittle.results.serialise import dumps, read_json


def audit_kept(
    subject: Subject,
    data: Dataset,
    options: AuditOptions,
    *,
    folder: Path | None,
    command: str = "",
    progress: Progress | None = None,
) -> Audit:
    """`audit_one`, or the same audit from `folder` if it was finished there before; partial audits are not kept.

    An audit is the same when weights, architecture, samples, options and version are.
    """
    if folder is None:
        return audit_one(subject, data, options, command=command, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"audit-{fingerprint(subject.model, data, options)[:24]}.json"
    if place.exists():
        try:
            return Audit.from_dict(read_json(place))
        except DataError:
            place.unlink()  # of another version, or damaged: measured again
    audit = audit_one(subject, data, options, command=command, progress=progress)
    if not audit.partial:
        write_text(place, dumps(audit))
    return audit


def fingerprint(model: nn.Module, data: Dataset, options: AuditOptions) -> str:
    """SHA-256 over everything that the numbers depend on."""
    digest = hashlib.sha256(f"{brittle.__version__}\n{model}\n".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(-1).double().numpy().tobytes())
    digest.update(data.split("test").take(options.samples, options.seed).sha256().encode())
    settings = {k: v for k, v in asdict(options).items() if k not in ("max_drop", "time_limit")}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()

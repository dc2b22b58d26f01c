"""Audits kept in a folder: finished ones are not measured twice, and an interrupted one goes on where it was."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

import brittle
from brittle.auditing.attack_options import AttackOptions
from brittle.auditing.options import AuditOptions
from brittle.auditing.run import Subject, audit_one
from brittle.data.dataset import Dataset
from brittle.data.split import Split
from brittle.errors import DataError
from brittle.evaluation.checkpoint import Memory
from brittle.evaluation.progress import Progress
from brittle.files import make_folder, write_text
from brittle.results.audit import Audit
from brittle.results.serialise import dumps, read_json

# Samples whose logits stand for what the code of a model does: its printed form need not show it.
_PROBES = 8


def audit_kept(
    subject: Subject,
    data: Dataset,
    options: AuditOptions,
    *,
    folder: Path | None,
    surrogate: Subject | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Audit:
    """`audit_one`, or the same audit from `folder` if it was finished there before; partial audits are not kept.

    An audit is the same when weights, function, samples, options and versions are; its name and command are then those
    of this call. A file whose content is not what was written, by the hash in its name, is measured again.

    Raises:
        UsageError: the folder cannot be made or written; else as `audit_one`.
    """
    if folder is None:
        return audit_one(subject, data, options, surrogate=surrogate, command=command, progress=progress)
    mark = fingerprint(subject, data, options)
    if surrogate is not None:
        mark = hashlib.sha256(f"{mark} {fingerprint(surrogate, data, options)}".encode()).hexdigest()
    stem = f"audit-{mark[:24]}"
    kept = _kept(make_folder(folder), stem)
    if kept is not None:
        model, settings = replace(kept.model, name=subject.name), replace(kept.settings, command=command)
        return replace(kept, model=model, settings=settings)
    memory = Memory(folder / f"{stem}-parts", stem)
    audit = audit_one(subject, data, options, surrogate=surrogate, command=command, memory=memory, progress=progress)
    if not audit.partial:
        text = dumps(audit)
        write_text(folder / f"{stem}-{_hash(text.encode())}.json", text)
        shutil.rmtree(memory.folder, ignore_errors=True)  # the parts are in the whole now
    return audit


def attack_memory(subject: Subject, data: Dataset, options: AttackOptions, folder: Path) -> Memory:
    """Where `attack_one` keeps its state in `folder`.

    Raises:
        UsageError: the folder cannot be made.
    """
    mark = fingerprint(subject, data, options)[:24]
    return Memory(make_folder(folder) / f"attack-{mark}", mark)


def fingerprint(subject: Subject, data: Dataset, options: AuditOptions | AttackOptions) -> str:
    """SHA-256 over everything that the numbers depend on."""
    split = data.split("test").take(options.samples, options.seed)
    digest = hashlib.sha256(f"{brittle.__version__}\n{torch.__version__}\n{subject.model}\n{subject.notes}\n".encode())
    for name, tensor in sorted(subject.model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):  # a module's extra state
            digest.update(f"{name} {tensor!r}\n".encode())
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    digest.update(_function(subject.model, split))
    digest.update(f"{data.name}\n{data.classes}\n{split.sha256()}\n".encode())
    settings = {k: v for k, v in asdict(options).items() if k not in ("max_drop", "time_limit")}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _function(model: nn.Module, split: Split) -> bytes:
    """The logits of a few samples, one at a time; nothing for a model that does not run, which the audit refuses."""
    try:
        own = copy.deepcopy(model).to("cpu", torch.float32).eval()
        with torch.no_grad():
            return b"".join(own(x[None]).numpy().tobytes() for x in split.x[:_PROBES])
    except Exception:
        return b""


def _kept(folder: Path, stem: str) -> Audit | None:
    for place in sorted(folder.glob(f"{stem}-*.json")):
        try:
            if place.stem == f"{stem}-{_hash(place.read_bytes())}":
                return Audit.from_dict(read_json(place))
        except (OSError, DataError):
            pass
        place.unlink(missing_ok=True)  # damaged, or of another version: measured again
    return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

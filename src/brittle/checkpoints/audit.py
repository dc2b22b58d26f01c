"""The structure audit: a checkpoint's files in, a record out, with memory for one matrix per worker at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import monotonic

import torch

import brittle
from brittle.checkpoints.compare import compare_structure
from brittle.checkpoints.files import Checkpoint, find_checkpoint
from brittle.checkpoints.memory import check_memory
from brittle.checkpoints.options import CheckpointOptions, Progress
from brittle.checkpoints.plan import Plan, natural, plan
from brittle.checkpoints.store import Store
from brittle.checkpoints.workers import Row, measured
from brittle.errors import ModelError
from brittle.results.layer import Unmeasured
from brittle.results.structure import (
    STRUCTURE_SCHEMA,
    CheckpointInfo,
    MatrixStructure,
    StructureAudit,
    StructureSettings,
)

_WAITING = "the time limit came before its turn"


def audit_checkpoint(
    path: str | Path,
    options: CheckpointOptions | None = None,
    *,
    against: str | Path | None = None,
    resume: Path | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> StructureAudit:
    """The structure of every matrix in a safetensors file or a folder of them; no model is built and nothing runs.

    With `against` the base is measured first, in the same way, and the result says what changed. `resume` is a folder
    that keeps finished matrices: the same call goes on from them, with the numbers of an uninterrupted one.

    Raises:
        ModelError: a file is missing or broken, or there is no matrix in it.
        UsageError: not enough free memory for the largest matrix and the number of workers, or a folder that cannot be
            made or written.
    """
    options = options or CheckpointOptions()
    start = monotonic()
    deadline = None if options.time_limit is None else start + options.time_limit
    checkpoints = [find_checkpoint(place) for place in ((path,) if against is None else (against, path))]
    plans = [_planned(checkpoint) for checkpoint in checkpoints]
    bound = max(check_memory(one.matrices, options) for one in plans)
    store = Store(resume)
    audits: list[StructureAudit] = []
    for checkpoint, one in zip(checkpoints, plans, strict=True):
        stage = "matrices" if against is None else f"{checkpoint.path.name}: matrices"
        rows = _rows(one, options, store, deadline, stage, progress)
        settings = StructureSettings(
            command=command,
            k_fraction=options.k_fraction,
            exact_side=options.exact_side,
            probes=options.probes,
            steps=options.steps,
            workers=options.workers,
            torch=torch.__version__,
            memory_bound=bound,
            seconds=round(monotonic() - start, 3),
        )
        audits.append(_record(checkpoint, one, rows, options, settings))
    if against is None:
        return audits[0]
    base, child = audits
    return replace(child, comparison=compare_structure(base, child), partial=base.partial or child.partial)


def _planned(checkpoint: Checkpoint) -> Plan:
    planned = plan(checkpoint)
    if not planned.matrices:
        raise ModelError(f"{checkpoint.path} holds no weight matrix that can be read: expected tensors of 2 dimensions")
    return planned


def _rows(
    planned: Plan,
    options: CheckpointOptions,
    store: Store,
    deadline: float | None,
    stage: str,
    progress: Progress | None,
) -> dict[str, Row]:
    keys = {matrix.name: store.key(matrix, options) for matrix in planned.matrices}
    kept = {name: store.get(key) for name, key in keys.items()}
    rows: dict[str, Row] = {name: row for name, row in kept.items() if row is not None}
    total = len(planned.matrices)
    tell = progress or (lambda stage, done, total: None)
    tell(stage, len(rows), total)
    left = [matrix for matrix in planned.matrices if matrix.name not in rows]
    for matrix, row in measured(left, options, deadline):
        store.put(keys[matrix.name], row)
        rows[matrix.name] = row
        tell(stage, len(rows), total)
    return rows


def _record(
    checkpoint: Checkpoint, planned: Plan, rows: dict[str, Row], options: CheckpointOptions, settings: StructureSettings
) -> StructureAudit:
    found = [rows[matrix.name] for matrix in planned.matrices if matrix.name in rows]
    waiting = [Unmeasured(m.name, m.shape, _WAITING) for m in planned.matrices if m.name not in rows]
    unmeasured = [*planned.unmeasured, *(row for row in found if isinstance(row, Unmeasured)), *waiting]
    info = CheckpointInfo(
        name=checkpoint.path.resolve().name,
        files=len(checkpoint.files),
        bytes=checkpoint.bytes,
        tensors=len(checkpoint.tensors),
        parameters=checkpoint.parameters,
    )
    return StructureAudit(
        schema=STRUCTURE_SCHEMA,
        brittle=brittle.__version__,
        seed=options.seed,
        checkpoint=info,
        matrices=tuple(row for row in found if isinstance(row, MatrixStructure)),
        unmeasured=tuple(sorted(unmeasured, key=lambda row: natural(row.name))),
        settings=settings,
        partial=bool(waiting),
    )

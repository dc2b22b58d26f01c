"""`brittle audit` of a checkpoint without a recipe: its structure, read from the files; nothing runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from brittle.cli.console import human_console
from brittle.cli.exits import STOPPED
from brittle.cli.outputs import STDOUT
from brittle.cli.typed import typed_command
from brittle.errors import UsageError
from brittle.files import check_folder, check_writable, write_text

# Options of `brittle audit` that mean something here.
_TAKEN = ("models", "against", "k", "effort", "seed", "workers", "html", "json", "time_limit", "resume", "config")


@dataclass(frozen=True)
class StructureRequest:
    """What the user typed, as far as it means something without a model that runs."""

    models: tuple[str, ...]
    against: str | None
    k: float
    effort: str
    seed: int
    workers: int
    html: Path | None
    json: Path | None
    time_limit: float | None
    resume: Path | None


def structure_audit(ctx: typer.Context, request: StructureRequest) -> None:
    """Measure, write what was asked for, show a summary.

    Raises:
        UsageError: options that need a model that runs, several checkpoints at once, places that could not be written;
            else as `audit_checkpoint`.
    """
    (path,) = _checked(ctx, request)

    from brittle.checkpoints.audit import audit_checkpoint
    from brittle.checkpoints.options import EFFORTS, CheckpointOptions
    from brittle.cli.progress import progress_display
    from brittle.report.structure_page import write_structure_html
    from brittle.report.structure_terminal import structure_table
    from brittle.results.serialise import dumps

    if request.effort not in EFFORTS:
        raise UsageError(f"unknown effort {request.effort!r}: expected one of {', '.join(EFFORTS)}")
    options = CheckpointOptions(
        k_fraction=request.k,
        seed=request.seed,
        workers=request.workers,
        time_limit=request.time_limit,
        **EFFORTS[request.effort],
    )
    console = human_console()
    with progress_display(console) as progress:
        audit = audit_checkpoint(
            path,
            options,
            against=request.against,
            resume=request.resume,
            command=typed_command(ctx),
            progress=progress,
        )
    if request.json == STDOUT:
        sys.stdout.write(dumps(audit))
        sys.stdout.flush()
    elif request.json is not None:
        write_text(request.json, dumps(audit))
    if request.html is not None:
        write_structure_html(request.html, audit, title=f"brittle: {audit.checkpoint.name}")
        console.print(f"report: {request.html}", markup=False)
    console.print(structure_table(audit))
    if audit.partial:
        console.print("brittle: stopped at the time limit; matrices not reached are listed as unmeasured", markup=False)
        raise typer.Exit(STOPPED)


def _checked(ctx: typer.Context, request: StructureRequest) -> tuple[str, ...]:
    typed = [
        parameter.opts[-1]
        for parameter in ctx.command.params
        if parameter.name not in _TAKEN
        and getattr(ctx.get_parameter_source(parameter.name or ""), "name", "") == "COMMANDLINE"
    ]
    if typed:
        first = request.models[0]
        raise UsageError(
            f"{first} has no recipe: name its architecture, as in zoo:mlp?width=256 --weights {first}, or leave "
            f"{', '.join(typed)} out and its structure alone is audited"
        )
    if len(request.models) > 1:
        raise UsageError(f"structure is audited one checkpoint at a time, got {len(request.models)}: give one MODEL")
    files = [place for place in (request.html, request.json) if place is not None and place != STDOUT]
    for place in files:
        check_writable(place)
    if len({place.resolve() for place in files}) < len(files):
        raise UsageError("two results would go to one file: give --html and --json different names")
    if request.resume is not None:
        check_folder(request.resume)
    return request.models

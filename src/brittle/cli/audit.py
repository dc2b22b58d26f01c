"""`brittle audit`: one model's profile, or children against their base with a verdict and a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brittle.checkpoints.bare import is_bare
from brittle.cli.config import read_config
from brittle.cli.console import human_console
from brittle.cli.exits import GATE_FAILED, STOPPED
from brittle.cli.outputs import Outputs
from brittle.cli.radii import parse_radii
from brittle.cli.structure import StructureRequest, structure_audit
from brittle.cli.typed import typed_command
from brittle.errors import UsageError
from brittle.files import check_folder

# What --norm takes.
NORMS: dict[str, tuple[str, ...]] = {"linf": ("linf",), "l2": ("l2",), "both": ("linf", "l2")}
# Percentage points, where no gate is asked for.
DEFAULT_MAX_DROP = 2.0
PANEL_WHAT, PANEL_HOW, PANEL_OUT = "What", "How", "Results"


def audit(
    ctx: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            show_default=False,
            help="MODEL: F.safetensors, FOLDER, zoo:..., python:pkg.module:callable, ...",
        ),
    ],
    data: Annotated[
        str, typer.Option(help="digits, mnist:DIR, fashion-mnist:DIR, cifar10:DIR, images:DIR, npz:FILE.")
    ] = "digits",
    against: Annotated[str | None, typer.Option(help="The base MODEL, such as the net before compression.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A state dict for each MODEL that takes one, in order.", rich_help_panel=PANEL_WHAT),
    ] = None,
    against_weights: Annotated[
        str | None, typer.Option(help="A state dict for the base.", rich_help_panel=PANEL_WHAT)
    ] = None,
    norm: Annotated[str, typer.Option(help="linf, l2 or both.", rich_help_panel=PANEL_HOW)] = "both",
    epsilon: Annotated[
        list[str] | None, typer.Option(help="Radii in pixel units: 0.05, 8/255, l2:0.5.", rich_help_panel=PANEL_HOW)
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Test samples drawn (all if there are fewer).", rich_help_panel=PANEL_HOW)
    ] = 1000,
    effort: Annotated[str, typer.Option(help="quick, standard or thorough.", rich_help_panel=PANEL_HOW)] = "standard",
    directions: Annotated[
        int, typer.Option(help="Sensitive directions found for each map (0 for none).", rich_help_panel=PANEL_HOW)
    ] = 8,
    k: Annotated[
        float, typer.Option(help="Fraction of rows for residual and spread.", rich_help_panel=PANEL_HOW)
    ] = 0.1,
    batch_size: Annotated[
        int, typer.Option(help="Most inputs the model sees at once.", rich_help_panel=PANEL_HOW)
    ] = 256,
    workers: Annotated[
        int, typer.Option(help="Processes that read a checkpoint without a recipe.", rich_help_panel=PANEL_HOW)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=PANEL_HOW)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=PANEL_HOW)] = "cpu",
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Gate: exit 1 if a child loses more points of robust accuracy (default 2, no gate).",
            rich_help_panel=PANEL_OUT,
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report page.", rich_help_panel=PANEL_OUT)] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Write audit.json (- for stdout; a folder for several MODELs).", rich_help_panel=PANEL_OUT),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.", rich_help_panel=PANEL_OUT)] = None,
    sarif: Annotated[
        Path | None, typer.Option(help="Write the findings as SARIF 2.1.0.", rich_help_panel=PANEL_OUT)
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds; then exit 3 with what there is, marked.", rich_help_panel=PANEL_HOW)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Keep audits here: finished ones are reused, an interrupted one goes on.", rich_help_panel=PANEL_HOW
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Options from a TOML file; the command line wins.", is_eager=True, callback=read_config),
    ] = None,
) -> None:
    """Audit MODELs on DATA: layers, bounds, certified and attacked accuracy; with --against also the verdict.

    A safetensors file without a recipe, or a FOLDER of shards, is audited for structure alone: nothing runs.
    """
    if any(is_bare(spec) for spec in models):
        structure_audit(
            ctx,
            StructureRequest(tuple(models), against, k, effort, seed, workers, html, json, time_limit, resume),
        )
        return
    if workers != 1:
        raise UsageError("--workers reads checkpoints without a recipe: leave it out for a model that runs")
    if len(models) > 1 and against is None:
        raise UsageError("several MODELs need --against BASE: audit them one by one for profiles")
    if max_drop is not None and against is None:
        raise UsageError("--max-drop compares with a base: add --against BASE")
    if norm not in NORMS:
        raise UsageError(f"unknown norm {norm!r}: expected {', '.join(NORMS)}")
    radii = parse_radii(epsilon or [], NORMS[norm])
    outputs = Outputs(html, json, junit, sarif)
    outputs.check(len(models))
    if resume is not None:
        check_folder(resume)

    from brittle.auditing.options import AuditOptions
    from brittle.cli.progress import progress_display
    from brittle.cli.session import AuditRequest, run_audits
    from brittle.report.pooled import pooled_table
    from brittle.report.terminal import audit_table

    options = AuditOptions(
        norms=NORMS[norm],
        epsilon=radii,
        samples=samples,
        effort=effort,
        directions=directions,
        k_fraction=k,
        batch_size=batch_size,
        seed=seed,
        device=device,
        max_drop=DEFAULT_MAX_DROP if max_drop is None else max_drop,
        time_limit=time_limit,
    )
    request = AuditRequest(
        models=tuple(models),
        weights=tuple(weights or ()),
        against=against,
        against_weights=against_weights,
        data=data,
        resume=resume,
        command=typed_command(ctx),
    )
    console = human_console()
    with progress_display(console) as progress:
        audits = run_audits(request, options, progress)
    children = audits[1:] if against is not None else audits
    outputs.write(audits, children, console)
    for child in children:
        console.print(audit_table(child))
    pooled = pooled_table(audits[0], children)
    if pooled is not None:
        console.print(pooled)
    if any(one.partial for one in audits):
        console.print("brittle: stopped at the time limit; the numbers above are partial and marked", markup=False)
        raise typer.Exit(STOPPED)
    if max_drop is not None and any(child.verdict is not None and child.verdict.brittle for child in children):
        console.print("brittle: the gate failed: robust accuracy fell by more than --max-drop", markup=False)
        raise typer.Exit(GATE_FAILED)

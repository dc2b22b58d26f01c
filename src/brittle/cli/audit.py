"""`brittle audit`: one model's profile, or children against their base with a verdict and a gate."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from brittle.cli.console import human_console
from brittle.cli.config import read_config
from brittle.cli.radii import parse_radii
from brittle.errors import UsageError

_PANEL_WHAT, _PANEL_HOW, _PANEL_OUT = "What", "How", "Results"


def audit(
    models: Annotated[list[str], typer.Argument(help="MODEL: F.safetensors, zoo:..., python:pkg.module:callable, ...")],
    data: Annotated[str, typer.Option(help="digits, mnist:DIR, fashion-mnist:DIR, cifar10:DIR, images:DIR, npz:FILE.")] = "digits",
    against: Annotated[str | None, typer.Option(help="The base MODEL, such as the net before compression.")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="A state dict for each MODEL that takes one, in order.", rich_help_panel=_PANEL_WHAT)
    ] = None,
    against_weights: Annotated[str | None, typer.Option(help="A state dict for the base.", rich_help_panel=_PANEL_WHAT)] = None,
    norm: Annotated[str, typer.Option(help="linf, l2 or both.", rich_help_panel=_PANEL_HOW)] = "both",
    epsilon: Annotated[
        list[str] | None, typer.Option(help="Radii in pixel units: 0.05, 8/255, l2:0.5.", rich_help_panel=_PANEL_HOW)
    ] = None,
    samples: Annotated[int, typer.Option(help="Test samples drawn (all if there are fewer).", rich_help_panel=_PANEL_HOW)] = 1000,
    effort: Annotated[str, typer.Option(help="quick, standard or thorough.", rich_help_panel=_PANEL_HOW)] = "standard",
    k: Annotated[float, typer.Option(help="Fraction of rows for residual and spread.", rich_help_panel=_PANEL_HOW)] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Most inputs the model sees at once.", rich_help_panel=_PANEL_HOW)] = 256,
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=_PANEL_HOW)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=_PANEL_HOW)] = "cpu",
    max_drop: Annotated[
        float | None,
        typer.Option(help="Gate: exit 1 if a child loses more points of robust accuracy (default 2, no gate).", rich_help_panel=_PANEL_OUT),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report page.", rich_help_panel=_PANEL_OUT)] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write audit.json (- for stdout; a folder for several MODELs).", rich_help_panel=_PANEL_OUT)
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.", rich_help_panel=_PANEL_OUT)] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds; then exit 3 with what there is, marked.", rich_help_panel=_PANEL_HOW)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Keep finished audits here and reuse them.", rich_help_panel=_PANEL_HOW)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Options from a TOML file; the command line wins.", is_eager=True, callback=read_config),
    ] = None,
) -> None:
    """Audit MODELs on DATA: layers, bounds, certified and attacked accuracy; with --against also the verdict."""
    from brittle.files import check_writable

    several = len(models) > 1
    if several and against is None:
        raise UsageError("several MODELs need --against BASE: audit them one by one for profiles")
    if max_drop is not None and against is None:
        raise UsageError("--max-drop compares with a base: add --against BASE")
    if norm not in ("linf", "l2", "both"):
        raise UsageError(f"unknown norm {norm!r}: expected linf, l2 or both")
    norms = ("linf", "l2") if norm == "both" else (norm,)
    radii = parse_radii(epsilon or [], norms)
    for place in (html, junit, None if several or json == Path("-") else json):
        if place is not None:
            check_writable(place)
    if several and json == Path("-"):
        raise UsageError("several audits do not fit one stdout: give --json a folder")

    from brittle.cli.progress import progress_display
    from brittle.cli.session import AuditRequest, run_audits
    from brittle.report.terminal import audit_table

    console = human_console()
    request = AuditRequest(
        models=tuple(models),
        weights=tuple(weights or ()),
        against=against,
        against_weights=against_weights,
        data=data,
        resume=resume,
        command="brittle " + " ".join(shlex.quote(a) for a in sys.argv[1:]),
    )
    options = dict(
        norms=norms,
        epsilon=radii,
        samples=samples,
        effort=effort,
        k_fraction=k,
        batch_size=batch_size,
        seed=seed,
        device=device,
        max_drop=2.0 if max_drop is None else max_drop,
        time_limit=time_limit,
    )
    with progress_display(console) as progress:
        audits = run_audits(request, options, progress)
    children = audits[1:] if against is not None else audits
    for child in children:
        console.print(audit_table(child))
    _write(audits, children, html, json, junit, console, several)
    if any(a.partial for a in audits):
        console.print("brittle: stopped at the time limit; the numbers above are partial and marked", markup=False)
        raise typer.Exit(3)
    if max_drop is not None and any(c.verdict is not None and c.verdict.brittle for c in children):
        console.print("brittle: the gate failed: robust accuracy fell by more than --max-drop", markup=False)
        raise typer.Exit(1)


def _write(audits, children, html, json, junit, console, several) -> None:  # type: ignore[no-untyped-def]
    from brittle.files import write_text
    from brittle.report.html import write_html
    from brittle.report.junit import junit_xml
    from brittle.results.serialise import dumps

    if html is not None:
        write_html(html, audits, title=f"brittle: {children[-1].model.name}")
        console.print(f"report: {html}", markup=False)
    if junit is not None:
        write_text(junit, junit_xml(children))
    if json is None:
        return
    if json == Path("-"):
        sys.stdout.write(dumps(children[0]))
    elif several:
        json.mkdir(parents=True, exist_ok=True)
        for i, audit_ in enumerate(children):
            write_text(json / f"audit-{i}.json", dumps(audit_))
    else:
        write_text(json, dumps(children[0]))

"""`brittle attack`: chosen attacks on one model, and the attacked images as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from brittle.cli.audit import PANEL_HOW, PANEL_OUT, PANEL_WHAT
from brittle.cli.console import human_console
from brittle.cli.exits import STOPPED
from brittle.cli.outputs import STDOUT
from brittle.cli.radii import parse_radii
from brittle.cli.typed import typed_command
from brittle.errors import UsageError
from brittle.files import check_folder, check_writable, write_text

NORMS = ("linf", "l2", "l1")


def attack(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="As for brittle audit.")],
    data: Annotated[str, typer.Option(help="As for brittle audit.")] = "digits",
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="apgd, square, cascade, autoattack, deepfool, universal, directional, ...; several run in turn "
            "(default effort-thorough)."
        ),
    ] = None,
    norm: Annotated[str, typer.Option(help="linf, l2 or l1.", rich_help_panel=PANEL_HOW)] = "linf",
    epsilon: Annotated[
        list[str] | None, typer.Option(help="Radii in pixel units: 0.05, 8/255.", rich_help_panel=PANEL_HOW)
    ] = None,
    weights: Annotated[str | None, typer.Option(help="A state dict for the MODEL.", rich_help_panel=PANEL_WHAT)] = None,
    surrogate: Annotated[
        str | None,
        typer.Option(help="Another MODEL: make perturbations on it as well.", rich_help_panel=PANEL_WHAT),
    ] = None,
    surrogate_weights: Annotated[
        str | None, typer.Option(help="A state dict for the surrogate.", rich_help_panel=PANEL_WHAT)
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Test samples drawn (all if there are fewer).", rich_help_panel=PANEL_HOW)
    ] = 1000,
    fit: Annotated[
        int,
        typer.Option(
            help="Samples that directions and universal perturbations are fitted on.", rich_help_panel=PANEL_HOW
        ),
    ] = 1000,
    directions: Annotated[int, typer.Option(help="Most directions to attack along.", rich_help_panel=PANEL_HOW)] = 8,
    target: Annotated[
        int | None, typer.Option(help="Class a universal perturbation pushes to.", rich_help_panel=PANEL_HOW)
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Most inputs the model sees at once.", rich_help_panel=PANEL_HOW)
    ] = 256,
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=PANEL_HOW)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=PANEL_HOW)] = "cpu",
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds; then exit 3 with what there is, marked.", rich_help_panel=PANEL_HOW)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Keep the state here; the same command goes on from it.", rich_help_panel=PANEL_HOW),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write attack.json (- for stdout).", rich_help_panel=PANEL_OUT)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the attacked images as F.npz (attacks at one radius).", rich_help_panel=PANEL_OUT),
    ] = None,
) -> None:
    """Attack MODEL on DATA: at a radius, for the smallest radius, with one perturbation for all, along directions."""
    if norm not in NORMS:
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(NORMS)}")
    radii = (parse_radii(epsilon or [], (norm,)) or {}).get(norm, ())
    files = [place for place in (json, out) if place is not None and place != STDOUT]
    for place in files:
        check_writable(place)
    if len(files) == 2 and files[0].resolve() == files[1].resolve():
        raise UsageError("two results would go to one file: give --json and --out different names")
    if out is not None and out.suffix != ".npz":
        raise UsageError(f"--out writes arrays: expected a name that ends in .npz, got {out.name!r}")
    if resume is not None:
        check_folder(resume)

    from brittle.auditing.attack_options import AttackOptions
    from brittle.cli.attack_session import AttackRequest, run_attack, write_images
    from brittle.cli.progress import progress_display
    from brittle.report.attack_terminal import attack_table
    from brittle.results.serialise import dumps

    options = AttackOptions(
        **({"attacks": tuple(attack)} if attack else {}),
        norm=norm,
        epsilon=radii,
        samples=samples,
        fit=fit,
        target=target,
        directions=directions,
        batch_size=batch_size,
        seed=seed,
        device=device,
        time_limit=time_limit,
    )
    request = AttackRequest(
        model, weights, surrogate, surrogate_weights, data, resume, typed_command(ctx), out is not None
    )
    console = human_console()
    with progress_display(console) as progress:
        made = run_attack(request, options, progress)
    if json == STDOUT:
        sys.stdout.write(dumps(made.result))
        sys.stdout.flush()
    elif json is not None:
        write_text(json, dumps(made.result))
    if out is not None:
        write_images(out, made)
        console.print(f"attacked images: {out}", markup=False)
    console.print(attack_table(made.result))
    if made.result.partial:
        console.print("brittle: stopped at the time limit; the numbers above are partial and marked", markup=False)
        raise typer.Exit(STOPPED)

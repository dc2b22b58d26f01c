"""`brittle compress`: a smaller network that lost as little clean and robust accuracy as possible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brittle.cli.audit import NORMS, PANEL_HOW, PANEL_OUT, PANEL_WHAT
from brittle.cli.compress_outputs import CompressOutputs
from brittle.cli.console import human_console
from brittle.cli.exits import GATE_FAILED, STOPPED
from brittle.cli.radii import parse_radii
from brittle.cli.shares import parse_share, parse_shares
from brittle.cli.typed import typed_command
from brittle.errors import UsageError
from brittle.files import check_folder

PANEL_RECOVERY = "Recovery"


def compress(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="As for brittle audit.")],
    keep: Annotated[
        str, typer.Option(help="Share of the parameters that stay: 0.25, 1/8.", rich_help_panel=PANEL_WHAT)
    ],
    out: Annotated[Path, typer.Option(help="Write the smaller network, as F.safetensors.", rich_help_panel=PANEL_OUT)],
    data: Annotated[
        str, typer.Option(help="As for brittle audit; with a training part.", rich_help_panel=PANEL_WHAT)
    ] = "digits",
    weights: Annotated[str | None, typer.Option(help="A state dict for the MODEL.", rich_help_panel=PANEL_WHAT)] = None,
    method: Annotated[
        str, typer.Option(help="auto, l2-global, svd, eps, ...; see the documentation.", rich_help_panel=PANEL_WHAT)
    ] = "auto",
    robust: Annotated[
        bool,
        typer.Option(
            "--robust", help="Choose what stays by the accuracy under attack as well.", rich_help_panel=PANEL_WHAT
        ),
    ] = False,
    norm: Annotated[str, typer.Option(help="linf or l2.", rich_help_panel=PANEL_HOW)] = "linf",
    epsilon: Annotated[
        list[str] | None,
        typer.Option(help="Radii measured; the first is defended against: 8/255.", rich_help_panel=PANEL_HOW),
    ] = None,
    finetune: Annotated[
        float,
        typer.Option(help="Gradient evaluations for each training image; 0: none.", rich_help_panel=PANEL_RECOVERY),
    ] = 10.0,
    recover: Annotated[
        str | None,
        typer.Option(
            help="plain, adversarial, trades or distil (adversarial with --robust, else plain).",
            rich_help_panel=PANEL_RECOVERY,
        ),
    ] = None,
    penalty: Annotated[
        list[str] | None,
        typer.Option(help="NAME=STRENGTH, such as beta_control=0.001; repeat.", rich_help_panel=PANEL_RECOVERY),
    ] = None,
    flatten: Annotated[
        float | None,
        typer.Option(help="Bring kept singular values to one level, 0 to 1.", rich_help_panel=PANEL_WHAT),
    ] = None,
    orthonormal: Annotated[
        float | None,
        typer.Option(help="Largest condition number of low-rank factors.", rich_help_panel=PANEL_RECOVERY),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(help="More shares, with rivals, for the picture: 0.5,0.25,0.125.", rich_help_panel=PANEL_OUT),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Gate: exit 1 if more points are lost, clean or robust.", rich_help_panel=PANEL_OUT),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Test samples drawn (all if there are fewer).", rich_help_panel=PANEL_HOW)
    ] = 1000,
    evidence: Annotated[
        int, typer.Option(help="Training samples that choices are made from.", rich_help_panel=PANEL_HOW)
    ] = 1000,
    effort: Annotated[
        str, typer.Option(help="Of the attacks: quick, standard or thorough.", rich_help_panel=PANEL_HOW)
    ] = "quick",
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
        typer.Option(help="Keep the stages here; the same command goes on from them.", rich_help_panel=PANEL_HOW),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report page.", rich_help_panel=PANEL_OUT)] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write compression.json (- for stdout).", rich_help_panel=PANEL_OUT)
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Write the smaller network as ONNX, checked.", rich_help_panel=PANEL_OUT)
    ] = None,
) -> None:
    """Compress MODEL to a share of its size, win accuracy back, and say what it cost, clean and under attack."""
    if norm not in ("linf", "l2"):
        raise UsageError(f"unknown norm {norm!r}: expected linf or l2")
    radii = (parse_radii(epsilon or [], NORMS[norm]) or {}).get(norm, ())
    shares = () if sweep is None else parse_shares("--sweep", sweep)
    share = parse_share("--keep", keep)
    outputs = CompressOutputs(out, html, json, onnx)
    outputs.check(shares)
    if resume is not None:
        check_folder(resume)

    from brittle.cli.compress_session import CompressRequest, run_compression
    from brittle.cli.progress import progress_display
    from brittle.cli.train_plan import parse_penalty
    from brittle.delivery.options import CompressOptions
    from brittle.report.compression_terminal import compression_table

    added = [parse_penalty(text, proximal=False) for text in penalty or ()]
    names = [one.name for one in added]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"penalty {name} is given twice: give it once, with one strength")
    options = CompressOptions(
        keep=share,
        method=method,
        robust=robust,
        norm=norm,
        epsilon=radii,
        finetune=finetune,
        recover=recover,
        penalties={one.name: one.strength for one in added},
        flatten=flatten,
        orthonormal=orthonormal,
        sweep=shares,
        max_drop=max_drop,
        samples=samples,
        evidence=evidence,
        effort=effort,
        batch_size=batch_size,
        time_limit=time_limit,
        seed=seed,
        device=device,
    )
    request = CompressRequest(model, weights, data, resume, typed_command(ctx), out.name, onnx is not None)
    console = human_console()
    with progress_display(console) as progress:
        made = run_compression(request, options, progress)
    if made.delivered is None:
        console.print(
            "brittle: stopped at the time limit before there was a smaller network: nothing was written", markup=False
        )
        raise typer.Exit(STOPPED)
    result, lines = outputs.write(made.delivered, made.parent, made.input_shape)
    console.print(compression_table(result))
    for line in lines:
        console.print(line, markup=False)
    if result.partial:
        console.print("brittle: stopped at the time limit; the numbers above are partial and marked", markup=False)
        raise typer.Exit(STOPPED)
    if result.gate is not None and not result.gate.held:
        console.print(
            "brittle: the gate failed: accuracy fell by more than --max-drop; the file is written and marked",
            markup=False,
        )
        raise typer.Exit(GATE_FAILED)

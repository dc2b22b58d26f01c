"""`brittle train`: a net trained for accuracy, structure and robustness, and what happened on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brittle.cli.audit import PANEL_HOW, PANEL_OUT, PANEL_WHAT
from brittle.cli.console import human_console
from brittle.cli.outputs import STDOUT
from brittle.cli.typed import typed_command
from brittle.errors import UsageError
from brittle.files import check_folder, check_writable

PANEL_ADDED = "What is added to the loss"
PANEL_ATTACKED = "Adversarial training"
SUFFIX = ".safetensors"


def train(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option(help="zoo:NAME?option=value, or F.safetensors to go on from.", rich_help_panel=PANEL_WHAT)
    ],
    out: Annotated[
        Path, typer.Option(help="Write the weights of the best epoch, as F.safetensors.", rich_help_panel=PANEL_OUT)
    ],
    data: Annotated[str, typer.Option(help="As for brittle audit.", rich_help_panel=PANEL_WHAT)] = "digits",
    weights: Annotated[str | None, typer.Option(help="A state dict to start from.", rich_help_panel=PANEL_WHAT)] = None,
    penalty: Annotated[
        list[str] | None,
        typer.Option(help="NAME=STRENGTH, such as nuclear=0.001; repeat for several.", rich_help_panel=PANEL_ADDED),
    ] = None,
    proximal: Annotated[
        bool, typer.Option("--proximal", help="Penalties as steps of their own.", rich_help_panel=PANEL_ADDED)
    ] = False,
    hold_scale: Annotated[
        bool,
        typer.Option("--hold-scale", help="Keep each layer's Frobenius norm.", rich_help_panel=PANEL_ADDED),
    ] = False,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="Patterns of layer names, as in 'conv*' (all but head and first convolution).",
            rich_help_panel=PANEL_ADDED,
        ),
    ] = None,
    adversarial: Annotated[
        str | None, typer.Option(help="pgd, trades, fast or universal.", rich_help_panel=PANEL_ATTACKED)
    ] = None,
    norm: Annotated[str, typer.Option(help="linf or l2.", rich_help_panel=PANEL_ATTACKED)] = "linf",
    epsilon: Annotated[
        list[str] | None,
        typer.Option(help="Radius in pixel units: 0.05, 8/255.", rich_help_panel=PANEL_ATTACKED),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of the attack (10); pgd, trades.", rich_help_panel=PANEL_ATTACKED)
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Weight of the second term (6); trades.", rich_help_panel=PANEL_ATTACKED)
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Of samples attacked (0.5); pgd.", rich_help_panel=PANEL_ATTACKED)
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training split.", rich_help_panel=PANEL_HOW)] = 20,
    batch_size: Annotated[int, typer.Option(help="Samples of a step.", rich_help_panel=PANEL_HOW)] = 64,
    optimiser: Annotated[
        str, typer.Option(help="sgd, momentum, nesterov, adam, adamw, muon.", rich_help_panel=PANEL_HOW)
    ] = "adamw",
    learning_rate: Annotated[float, typer.Option(help="At its peak.", rich_help_panel=PANEL_HOW)] = 0.001,
    weight_decay: Annotated[float, typer.Option(help="Of the optimiser.", rich_help_panel=PANEL_HOW)] = 0.0001,
    momentum: Annotated[float, typer.Option(help="Of those that have one.", rich_help_panel=PANEL_HOW)] = 0.9,
    schedule: Annotated[
        str, typer.Option(help="constant, cosine, step, warm-cosine, one-cycle.", rich_help_panel=PANEL_HOW)
    ] = "cosine",
    label_noise: Annotated[
        float, typer.Option(help="Share of training labels replaced.", rich_help_panel=PANEL_HOW)
    ] = 0.0,
    gradient_noise: Annotated[
        str | None, typer.Option(help="ALPHA:SCALE of heavy-tailed noise.", rich_help_panel=PANEL_HOW)
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss.", rich_help_panel=PANEL_HOW)
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm.", rich_help_panel=PANEL_HOW)] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=PANEL_HOW)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=PANEL_HOW)] = "cpu",
    mixed_precision: Annotated[
        str | None, typer.Option(help="bf16 or fp16; needs brittle[train].", rich_help_panel=PANEL_HOW)
    ] = None,
    track: Annotated[
        int | None,
        typer.Option(help="Epochs between two looks at structure and robustness; 0: none.", rich_help_panel=PANEL_OUT),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Keep the state here; the same command goes on from it.", rich_help_panel=PANEL_HOW),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the training report.", rich_help_panel=PANEL_OUT)] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write training.json (- for stdout).", rich_help_panel=PANEL_OUT)
    ] = None,
) -> None:
    """Train MODEL on DATA with penalties, held norms, attacks or noise, and see what becomes of its structure."""
    _check_places(out, html, json, resume)
    if not 0 <= seed < 2**62:
        raise UsageError(f"the seed must be at least 0 (and below 2^62), got {seed}")

    from brittle.cli.progress import progress_display
    from brittle.cli.train_plan import PlanTexts, parse_noise
    from brittle.cli.train_session import TrainOutputs, TrainRequest, run_training, write_results
    from brittle.report.training_terminal import training_summary
    from brittle.training.plan import Dynamics

    texts = PlanTexts(
        penalties=tuple(penalty or ()),
        proximal=proximal,
        hold_scale=hold_scale,
        layers=tuple(layers or ()),
        adversarial=adversarial,
        norm=norm,
        epsilon=tuple(epsilon or ()),
        steps=steps,
        beta=beta,
        share=share,
    )
    dynamics = Dynamics(
        epochs=epochs,
        batch_size=batch_size,
        optimiser=optimiser,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        momentum=momentum,
        schedule=schedule,
        label_noise=label_noise,
        gradient_noise=parse_noise(gradient_noise),
        patience=patience,
        clip=clip,
    )
    request = TrainRequest(model, weights, data, seed, device, mixed_precision, track, resume, typed_command(ctx))
    console = human_console()
    with progress_display(console) as progress:
        session = run_training(request, texts, dynamics, progress)
    if session.writes:
        write_results(session, request, TrainOutputs(out, html, json))
        for line in (*training_summary(session.trained.history), f"weights: {out}"):
            console.print(line, markup=False)
        if html is not None:
            console.print(f"report: {html}", markup=False)


def _check_places(out: Path, html: Path | None, json: Path | None, resume: Path | None) -> None:
    if out.suffix != SUFFIX:
        raise UsageError(f"--out writes a model: expected a name that ends in {SUFFIX}, got {out.name!r}")
    files = [place for place in (out, html, json) if place is not None and place != STDOUT]
    for place in files:
        check_writable(place)
    if len({place.resolve() for place in files}) < len(files):
        raise UsageError("two results would go to one file: give --out, --html and --json different names")
    if resume is not None:
        check_folder(resume)

"""`brittle study`: questions asked of many networks at once, and answered with a verdict each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from brittle.cli.console import human_console
from brittle.cli.exits import INTERRUPTED, STOPPED
from brittle.cli.outputs import STDOUT
from brittle.cli.typed import typed_command
from brittle.errors import UsageError
from brittle.files import check_folder, check_writable

study = typer.Typer(
    help="Run many networks to answer a question: the claims of the paper, or a study of your own.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_LOG_WIDTH = 120
PANEL_WHAT, PANEL_HOW, PANEL_OUT = "What is asked", "How it is run", "Results"

_Name = Annotated[str, typer.Argument(metavar="NAME|FILE.yaml", help="claims, or a study file.")]
_Preset = Annotated[str, typer.Option(help="quick or full; of claims.", rich_help_panel=PANEL_WHAT)]
_Data = Annotated[
    Path | None,
    typer.Option(help="Folder with mnist, fashion_mnist, cifar10_jpeg; full.", rich_help_panel=PANEL_WHAT),
]
_Only = Annotated[str | None, typer.Option(help="Some claims: C2,C5.", rich_help_panel=PANEL_WHAT)]


@study.command("list")
def list_studies(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where runs are looked for.")] = Path("."),
) -> None:
    """The built-in studies, and the runs that lie in DIR."""
    from brittle.cli.study_listing import listing

    _reading_console().print(listing(folder))


@study.command("show")
def show(name: _Name, preset: _Preset = "quick", data_dir: _Data = None, only: _Only = None) -> None:
    """What a study asks, what it would run, and the criteria that its verdicts rest on."""
    from brittle.cli.study_asked import asked_for
    from brittle.cli.study_listing import description

    _reading_console().print(description(asked_for(name, preset, data_dir or Path("DATA"), _claims(only))))


@study.command("run")
def run_study(
    ctx: typer.Context,
    name: _Name,
    preset: _Preset = "quick",
    data_dir: _Data = None,
    only: _Only = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for trials, numbers and report; a run goes on there.", rich_help_panel=PANEL_OUT),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.", rich_help_panel=PANEL_HOW)] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster, or local.", rich_help_panel=PANEL_HOW)
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Run failed trials once more.", rich_help_panel=PANEL_HOW)
    ] = False,
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Take answers of other versions of the code too.", rich_help_panel=PANEL_HOW),
    ] = False,
    take: Annotated[
        Path | None,
        typer.Option(help="Table of trials run elsewhere (.csv, .csv.gz): not run again.", rich_help_panel=PANEL_HOW),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds after which no trial is started.", rich_help_panel=PANEL_HOW)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write study.json here (- for stdout).", rich_help_panel=PANEL_OUT)
    ] = None,
) -> None:
    """Run what has no answer yet, judge, and write the report. It may be stopped and started again at any time."""
    if workers < 1:
        raise UsageError(f"--workers must be at least 1, got {workers}: 1 runs all trials in this process")
    if time_limit is not None and not time_limit > 0:
        raise UsageError(f"--time-limit must be above 0 seconds, got {time_limit:g}: leave it out for none")
    if json is not None and json != STDOUT:
        check_writable(json)
    if out is not None:
        check_folder(out)

    from brittle.cli.progress import progress_display
    from brittle.cli.study_asked import asked_for
    from brittle.cli.study_outputs import StudyFolder
    from brittle.cli.study_session import StudyRequest, run_asked
    from brittle.report.study_terminal import study_table

    asked = asked_for(name, preset, data_dir, _claims(only))
    folder = StudyFolder(Path(asked.folder) if out is None else out)
    folder.check(asked.name)
    request = StudyRequest(workers, ray, retry, reuse, take, time_limit, typed_command(ctx))
    console = human_console()
    with progress_display(console) as progress:
        ran = run_asked(asked, folder, request, progress)
    lines = folder.write(ran.result, ran.failures, json)
    console.print(study_table(ran.result))
    for line in lines:
        console.print(line, markup=False)
    if ran.interrupted:
        console.print("brittle: interrupted; what is finished is kept, the same command goes on", markup=False)
        raise typer.Exit(INTERRUPTED)
    if ran.stopped:
        console.print("brittle: stopped at the time limit; the same command goes on", markup=False)
        raise typer.Exit(STOPPED)


@study.command("report")
def report_study(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of a run.")],
    html: Annotated[Path | None, typer.Option(help="Where the page goes (DIR/report.html).")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write a Markdown page with its figures.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Judge the trials that are there now, also of a run under way.")
    ] = False,
) -> None:
    """The report of a run, from its study.json; of a run that was killed, from its trials."""
    for place in (html, markdown):
        if place is not None:
            check_writable(place)

    from brittle.cli.study_outputs import StudyFolder
    from brittle.cli.study_session import reported_result
    from brittle.report.study_markdown import write_study_markdown
    from brittle.report.study_page import write_study_html
    from brittle.report.study_terminal import study_table

    run = StudyFolder(folder)
    result = reported_result(run, refresh=refresh)
    page = write_study_html(html or run.report, result, title=run.title(result))
    lines = [f"report: {page}"]
    if markdown is not None:
        lines.append(f"markdown: {write_study_markdown(markdown, result)}")
    console = human_console()
    console.print(study_table(result))
    for line in lines:
        console.print(line, markup=False)


def _reading_console() -> Console:
    """On stdout: what is asked for is the text itself."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_LOG_WIDTH)


def _claims(only: str | None) -> tuple[str, ...]:
    """ "C2,C5" as names; () for all."""
    return () if only is None else tuple(part.strip() for part in only.split(",") if part.strip())

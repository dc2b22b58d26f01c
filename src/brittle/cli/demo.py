"""`brittle demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brittle.cli.console import human_console
from brittle.errors import UsageError
from brittle.files import check_folder


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, summary and audits.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="First training seed.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many training seeds; with several, means and pooled intervals.")] = 1,
) -> None:
    """Train a digits network, make it small in three ways, and see which one is brittle (about a minute)."""
    if not 0 <= seed < 2**62 or not 1 <= seeds <= 1000:
        raise UsageError(f"--seed must be at least 0 and --seeds from 1 to 1000, got {seed} and {seeds}")
    check_folder(out)

    from brittle.cli.progress import progress_display
    from brittle.demo.run import run_demo
    from brittle.report.summary import summary_table

    console = human_console()
    with progress_display(console) as progress:
        result = run_demo(out, seed, seeds, progress)
    console.print(summary_table(result.summary))
    console.print(f"report: {result.report}", markup=False)

"""The one place that turns commands into calls and exceptions into exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from typer.main import get_command

from brittle import __version__
from brittle.cli.attack import attack
from brittle.cli.audit import audit
from brittle.cli.compress import compress
from brittle.cli.demo import demo
from brittle.cli.exits import BAD_INPUT, DONE, INTERNAL, INTERRUPTED
from brittle.cli.report import report
from brittle.cli.study import study
from brittle.cli.train import train
from brittle.cli.typed import spread_numbers
from brittle.errors import BrittleError, SoundnessError, UsageError
from brittle.files import write_text

app = typer.Typer(
    name="brittle",
    help="Did compression make your network easier to break? Measure it, explain it, ship something better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(audit)
app.command()(attack)
app.command()(compress)
app.command()(report)
app.add_typer(study, name="study")
app.command()(train)


@app.callback(invoke_without_command=True)
def _version(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 gate failed, 2 bad input, 3 time limit, 70 a bug of ours."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    command = get_command(app)
    try:
        code = command.main(
            args=spread_numbers(arguments), prog_name="brittle", standalone_mode=False, obj=tuple(arguments)
        )
    except BrittleError as error:
        return _refused(console, str(error))
    except SoundnessError as error:
        return _unsound(console, error)
    except (KeyboardInterrupt, typer.Abort):
        console.print("brittle: interrupted", markup=False)
        return INTERRUPTED
    except Exception as error:
        if _out_of_memory(error):
            return _refused(console, "out of memory: use a smaller --batch-size or fewer --samples")
        message = getattr(error, "format_message", None)  # the parser's own usage errors
        if message is None:
            raise
        if message():  # else the parser has shown the help
            return _refused(console, f"{message()} (see brittle --help)")
        return BAD_INPUT
    return int(code or DONE)


def _refused(console: Console, message: str) -> int:
    console.print(f"brittle: {one_line(message)}", markup=False)
    return BAD_INPUT


def _unsound(console: Console, error: SoundnessError) -> int:
    place = Path(f"brittle-bug-{os.getpid()}.json")
    advice = f"attach {place}"
    try:
        write_text(place, json.dumps({"message": str(error), "brittle": __version__, **error.report}))
    except UsageError as failure:
        advice = one_line(str(failure))
    console.print(f"brittle: internal error: {one_line(str(error))} ({advice})", markup=False)
    return INTERNAL


def _out_of_memory(error: Exception) -> bool:
    """Told by name and text: torch, which has its own errors for it, may not even be loaded."""
    allocator = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return allocator or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def one_line(message: str) -> str:
    """A message without line breaks."""
    return " ".join(message.split())

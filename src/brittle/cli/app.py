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
from brittle.cli.audit import audit
from brittle.cli.demo import demo
from brittle.cli.report import report
from brittle.errors import BrittleError, SoundnessError

GATE_FAILED = 1
BAD_INPUT = 2
STOPPED = 3
INTERNAL = 70  # sysexits.h: an error in the software itself

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
app.command()(report)


@app.callback(invoke_without_command=True)
def _version(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit()


def spread_numbers(arguments: Sequence[str], option: str = "--epsilon") -> list[str]:
    """`--epsilon 0.05 0.1` as `--epsilon 0.05 --epsilon 0.1`, so that one flag takes several radii."""
    spread: list[str] = []
    taking = False
    for argument in arguments:
        if taking and _is_radius(argument):
            if spread[-1] != option:
                spread.append(option)
            spread.append(argument)
            continue
        taking = argument == option
        spread.append(argument)
    return spread


def _is_radius(argument: str) -> bool:
    text = argument.rpartition(":")[2]
    top, _, bottom = text.partition("/")
    try:
        float(top), float(bottom or 1)
    except ValueError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 gate failed, 2 bad input, 3 time limit, 70 a bug of ours."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    command = get_command(app)
    try:
        code = command.main(args=spread_numbers(arguments), prog_name="brittle", standalone_mode=False)
    except BrittleError as error:
        console.print(f"brittle: {one_line(str(error))}", markup=False)
        return BAD_INPUT
    except SoundnessError as error:
        place = Path(f"brittle-bug-{os.getpid()}.json")
        place.write_text(json.dumps({"message": str(error), "brittle": __version__, **error.report}), encoding="utf-8")
        console.print(f"brittle: internal error: {error} (attach {place})", markup=False)
        return INTERNAL
    except KeyboardInterrupt:
        console.print("brittle: interrupted")
        return 130
    except typer.Abort:
        return 130
    except Exception as error:
        message = getattr(error, "format_message", None)  # the parser's own usage errors
        if message is None:
            raise
        console.print(f"brittle: {one_line(message())} (see brittle --help)", markup=False)
        return BAD_INPUT
    return int(code or 0)


def one_line(message: str) -> str:
    """A message without line breaks."""
    return " ".join(message.split())

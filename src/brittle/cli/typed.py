"""What the user typed, for the record and before the parser sees it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import typer


def typed_command(ctx: typer.Context) -> str:
    """The command line as typed, ready to be pasted into a shell."""
    return shlex.join(["brittle", *(ctx.find_root().obj or ())])


def spread_numbers(arguments: Sequence[str], option: str = "--epsilon") -> list[str]:
    """`--epsilon 0.05 0.1` as `--epsilon 0.05 --epsilon 0.1`, so that one flag takes several radii."""
    spread: list[str] = []
    taking = False
    for argument in arguments:
        if taking and _are_radii(argument):
            if spread[-1] != option:
                spread.append(option)
            spread.append(argument)
            continue
        taking = argument.partition("=")[0] == option
        spread.append(argument)
    return spread


def _are_radii(argument: str) -> bool:
    """Whether it reads like radii, such as 0.05, 8/255 or linf:0.05,l2:0.5; files and MODELs do not."""
    for part in argument.split(","):
        top, _, bottom = part.rpartition(":")[2].partition("/")
        try:
            float(top), float(bottom or 1)
        except ValueError:
            return False
    return True

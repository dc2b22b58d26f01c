"""Options from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import typer

from brittle.errors import UsageError


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Use a TOML file's entries (option names with - or _) as defaults of the command; flags given by hand win.

    Raises:
        UsageError: no such file, no TOML, or a key that is no option; the message names it.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read --config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from None
    known = {p.name for p in ctx.command.params if p.name not in ("models", "config", "help")}
    entries = {key.replace("-", "_"): value for key, value in values.items()}
    for key in entries:
        if key not in known:
            raise UsageError(f"--config {path}: unknown option {key!r}: expected one of {', '.join(sorted(n for n in known if n))}")
    ctx.default_map = {**(ctx.default_map or {}), **{k: _texts(v) for k, v in entries.items()}}
    return path


def _texts(value: object) -> object:
    return [str(v) for v in value] if isinstance(value, list) else value

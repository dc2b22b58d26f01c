"""Options from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import typer

from brittle.errors import UsageError

# Not options: what is typed in place, and what reads the file.
_NOT_IN_FILES = ("models", "config", "help", "ctx")


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Use a TOML file's entries (option names with - or _) as defaults of the command; flags given by hand win.

    Raises:
        UsageError: no such file, no TOML, a key that is no option, or a value that no option takes; the message names
            it.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read --config {path}: {error.strerror}; give a TOML file of options") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}; write lines such as samples = 500") from None
    several = {p.name: getattr(p, "multiple", False) for p in ctx.command.params if p.name not in _NOT_IN_FILES}
    entries: dict[str, object] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in several:
            known = ", ".join(sorted(str(option).replace("_", "-") for option in several))
            raise UsageError(f"--config {path}: unknown option {key!r}: expected one of {known}")
        entries[name] = _texts(value, key, path) if several[name] else _text(value, key, path)
    ctx.default_map = {**(ctx.default_map or {}), **entries}
    return path


def _texts(value: object, key: str, path: Path) -> list[str]:
    """What may be given several times takes a list, or one value."""
    return [_text(part, key, path) for part in (value if isinstance(value, list) else [value])]


def _text(value: object, key: str, path: Path) -> str:
    """As it would be typed, so that the file and the command line meet the same checks."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"--config {path}: option {key!r} takes one text or number, got {value!r}")
    return str(value)

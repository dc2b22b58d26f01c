"""Where everything for people goes: stderr, so that stdout stays free for JSON."""

from __future__ import annotations

from rich.console import Console

# Width of tables where there is no terminal to ask (logs, CI).
_LOG_WIDTH = 130


def human_console() -> Console:
    """A console on stderr; in a log it is wide enough for the tables."""
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, width=_LOG_WIDTH)

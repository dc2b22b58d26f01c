"""Other people's error messages, cut to one line so that ours stay one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """`ValueError: the first line of its message`, at most 200 characters."""
    text = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

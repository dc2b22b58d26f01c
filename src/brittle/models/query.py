"""Values of `option=value` in a `zoo:` string."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from brittle.errors import ModelError


def _scalar(option: str, text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if not math.isfinite(number):
            raise ModelError(f"option {option} must be a finite number, got {text}")
        return number
    return text


def read_value(option: str, text: str) -> Any:
    """A whole number, a number, true, false, none, a word, or a comma list of them.

    Raises:
        ModelError: nothing, or a number that is not finite.
    """
    if not text:
        raise ModelError(f"option {option} has no value: expected {option}=VALUE, or {option}=none")
    # A trailing comma makes a list of one.
    return [_scalar(option, t) for t in text.split(",") if t] if "," in text else _scalar(option, text)


def _shape(option: str, text: str) -> tuple[int, ...]:
    sizes = text.replace(",", "x").split("x")
    if not all(size.isdecimal() for size in sizes):
        raise ModelError(f"option {option} must be sizes such as 1x28x28, got {text!r}")
    return tuple(map(int, sizes))


def _count(option: str, text: str) -> int:
    if not text.isdecimal():
        raise ModelError(f"option {option} must be a whole number, got {text!r}")
    return int(text)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(t) for t in text.split(","))
    except ValueError:
        raise ModelError(
            f"option {option} must be a number, or one for each channel joined by commas, got {text!r}"
        ) from None


# Options that describe the data, with their own forms
ABOUT_DATA: dict[str, Callable[[str, str], Any]] = {
    "input": _shape,
    "classes": _count,
    "mean": _numbers,
    "std": _numbers,
}

"""Options of the architectures: what a function takes is read off its signature, one value may serve all layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from brittle.errors import ModelError

# Deeper than any published network; keeps a mistyped or hostile recipe from building for hours.
MAX_LAYERS = 2000

PerLayer = int | tuple[int, ...]


def known_options(function: Callable[..., object]) -> tuple[str, ...]:
    """The names of the keyword-only parameters, in order."""
    return tuple(p.name for p in signature(function).parameters.values() if p.kind is Parameter.KEYWORD_ONLY)


def check_options(name: str, function: Callable[..., object], options: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values as the types that `function` declares for its keyword-only parameters (lists become tuples).

    Raises:
        ModelError: an unknown option, or a value of another type; the message names it.
    """
    known = known_options(function)
    hints = get_type_hints(function)
    checked: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            raise ModelError(f"{name} has no option {option!r}: expected one of {', '.join(known)}")
        try:
            checked[option] = TypeAdapter(hints[option]).validate_json(json.dumps(value), strict=True)
        except ValidationError:
            raise ModelError(
                f"{name}: option {option} takes {_describe(hints[option])}, got {_written(value)}"
            ) from None
    return checked


def per_layer(option: str, value: PerLayer, count: int) -> tuple[int, ...]:
    """One value for each of `count` layers.

    Raises:
        ModelError: a list of another length.
    """
    if isinstance(value, int):
        return (value,) * count
    if len(value) != count:
        raise ModelError(f"option {option} has {len(value)} values for {count} layers: give one for all, or {count}")
    return value


def at_least(option: str, minimum: int, values: Sequence[int], maximum: int | None = None) -> None:
    """Refuse values below `minimum` or above `maximum`.

    Raises:
        ModelError: the message names the option and the value.
    """
    for value in values:
        if value < minimum or (maximum is not None and value > maximum):
            limits = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
            raise ModelError(f"option {option} must be {limits}, got {value}")


def fraction(option: str, value: float) -> None:
    """Refuse a share outside [0, 1).

    Raises:
        ModelError: the message names the option and the value.
    """
    if not 0 <= value < 1:
        raise ModelError(f"option {option} is a share in [0, 1), got {value:g}: 0 for none")


def rank_plan(ranks: PerLayer | None, full: Sequence[int]) -> tuple[int, ...]:
    """The rank of every layer, 0 for a dense one; `full` holds the layers' full ranks, the head last.

    One number factorises each layer before the head whose full rank is larger. A tuple gives one rank for each layer
    (0: dense), with or without the head's.

    Raises:
        ModelError: a rank out of range, a tuple of another length, or one number that factorises nothing.
    """
    if ranks is None:
        return (0,) * len(full)
    if isinstance(ranks, int):
        at_least("ranks", 1, (ranks,))
        plan = (*(ranks if ranks < rank else 0 for rank in full[:-1]), 0)
        if not any(plan):
            raise ModelError(
                f"option ranks: {ranks} is not below the full rank of any layer before the head ({_list(full[:-1])})"
            )
        return plan
    if len(ranks) == len(full) - 1:
        ranks = (*ranks, 0)
    if len(ranks) != len(full):
        raise ModelError(
            f"option ranks has {len(ranks)} values: expected one number, or one for each of the "
            f"{len(full) - 1} layers before the head"
        )
    for rank, most in zip(ranks, full, strict=True):
        at_least("ranks", 0, (rank,), most)
    return ranks


def _describe(hint: Any) -> str:
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word", "None": "none"}
    parts = [hint.__name__] if isinstance(hint, type) else str(hint).split(" | ")
    return " or ".join(words.get(p, "a list of whole numbers" if p.startswith("tuple") else p) for p in parts)


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else repr(value)


def _list(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "none"

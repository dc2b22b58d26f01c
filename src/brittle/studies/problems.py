"""What is wrong with a study, for people: pydantic's errors as one line each, with the place they belong to."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

# Where in nested mappings and lists: keys and positions.
Place = tuple[str | int, ...]

_LIMITS: Final = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}
_KINDS: Final = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a finite number",
    "string_type": "text (in quotes, if it looks like a number)",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "tuple_type": "a list",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, and a sentence without the place's line."""

    place: Place
    text: str


def sentence(problems: Sequence[Problem]) -> str:
    """The first problem, and how many more there are."""
    more = len(problems) - 1
    return problems[0].text + (f" (and {more} more)" if more else "")


def problems_of(error: ValidationError, model: type[BaseModel], values: Any) -> list[Problem]:
    """All errors of a validation.

    Args:
        error: raised by `model` for `values`.
        model: the class.
        values: the plain values given.
    """
    by_place: dict[Place, list[Any]] = {}
    for one in error.errors(include_url=False):
        by_place.setdefault(_place(one["loc"], values), []).append(one)
    return [_problem(place, errors, model, values) for place, errors in by_place.items()]


def dotted(place: Place) -> str:
    """`source.rank`, `threats[0].epsilon`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def _problem(place: Place, errors: Sequence[Any], model: type[BaseModel], values: Any) -> Problem:
    """What pydantic says about one place: several things where a value may be of several types."""
    one = errors[0]
    name, kind, given = dotted(place), one["type"], one["input"]
    context = one.get("ctx", {})
    if kind == "missing":
        return Problem(place, f"{name} is missing: add it")
    if kind == "extra_forbidden":
        return Problem(place, _unknown(place, model, values))
    if kind == "union_tag_not_found":
        return Problem(place, f"{name} has no kind: add `kind:` and one of {', '.join(_kinds(model, place))}")
    if kind == "union_tag_invalid":
        text = f"{name}.kind must be one of {', '.join(_kinds(model, place))}, got {context['tag']!r}"
        return Problem((*place, "kind"), text)
    if kind in _LIMITS:
        limit, sign = _LIMITS[kind]
        return Problem(place, f"{name} must be {sign} {context[limit]}, got {given!r}: choose another value")
    if kind == "literal_error":
        return Problem(place, f"{name} must be {context['expected']}, got {given!r}")
    if kind in _KINDS:
        kinds = dict.fromkeys(_KINDS[other["type"]] for other in errors if other["type"] in _KINDS)
        return Problem(place, f"{name} must be {' or '.join(kinds)}, got {given!r}")
    if kind in ("too_short", "string_too_short"):
        return Problem(place, f"{name} is empty: give at least one value, or leave the key out")
    if kind == "string_pattern_mismatch":
        return Problem(place, f"{name} must consist of letters, digits, '.', '_' and '-', got {given!r}")
    text = one["msg"].removeprefix("Value error, ")
    return Problem(place, f"{name}: {text}" if name else text)


def _place(location: Sequence[str | int], values: Any) -> Place:
    """pydantic's place without the names of union members that it passes through."""
    place: list[str | int] = []
    for i, part in enumerate(location):
        last = i == len(location) - 1
        if not last and isinstance(values, dict) and part == values.get("kind"):
            continue
        if _has(values, part):
            values = values[part]
        elif not last or not isinstance(values, dict):
            continue
        place.append(part)
    return tuple(place)


def _has(values: Any, part: str | int) -> bool:
    if isinstance(values, list):
        return isinstance(part, int) and part < len(values)
    return isinstance(values, dict) and part in values


def _unknown(place: Place, model: type[BaseModel], values: Any) -> str:
    *parents, key = place
    for part in parents:
        values = values[part]
    found = _model_at(model, tuple(parents), values)
    known = sorted(found.model_fields) if found else []
    near = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}" if known else "leave it out"
    of = f" (kind {values['kind']})" if isinstance(values, dict) and "kind" in values else ""
    return f"unknown key {dotted(place)}{of}: {hint}"


def _model_at(model: type[BaseModel], place: Place, values: Any) -> type[BaseModel] | None:
    """The class that describes the mapping `values` at `place` of `model`; None where there is none."""
    candidates: list[Any] = [model]
    for part in place:
        if isinstance(part, int):
            continue
        fields = [c.model_fields[part].annotation for c in candidates if part in c.model_fields]
        candidates = [one for field in fields for one in _classes(field)]
    if isinstance(values, dict) and "kind" in values:
        candidates = [c for c in candidates if values["kind"] in _kind_of(c)]
    return candidates[0] if candidates else None


def _classes(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in _classes(part)]


def _kind_of(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _kinds(model: type[BaseModel], place: Place) -> list[str]:
    """The kinds that the union at `place` knows."""
    candidates: list[type[BaseModel]] = [model]
    for part in place:
        if not isinstance(part, int):
            fields = [c.model_fields[part].annotation for c in candidates if part in c.model_fields]
            candidates = [one for field in fields for one in _classes(field)]
    return [kind for candidate in candidates for kind in _kind_of(candidate)]

"""Records to JSON-ready dictionaries and back, by their type annotations (pydantic does the walking and checking)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from brittle.errors import DataError

T = TypeVar("T")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(cls: Any) -> TypeAdapter[Any]:
    """Making an adapter walks all annotations, so each record class gets one."""
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def to_dict(record: object) -> dict[str, Any]:
    """A record as plain dictionaries, lists, strings and numbers, keys in the order of its fields."""
    dumped: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    return dumped


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """The record of class `cls` that `to_dict` turned into `values`.

    Raises:
        DataError: a field is missing or has another type; the message names the first one.
    """
    try:
        record: T = _adapter(cls).validate_python(values)
        return record
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"not a valid {cls.__name__} record: field {where!r}: {first['msg']}") from error


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON Schema of a record class, as `to_dict` writes it."""
    return _adapter(cls).json_schema(mode="serialization")


def dumps(record: object) -> str:
    """A record as indented JSON text. Infinities and NaN are refused: a record holds None where there is no number."""
    return json.dumps(to_dict(record), indent=1, allow_nan=False) + "\n"


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: the file is missing, is not JSON, or holds no object.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}; expected a JSON file written by `brittle audit --json`") from None
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): give a JSON file that can be read") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested beyond reason
        raise DataError(
            f"{path} is not a JSON file ({error}); expected one written by `brittle audit --json`"
        ) from None
    if not isinstance(values, dict):
        raise DataError(f"{path} holds a {type(values).__name__}, expected an object written by `brittle audit --json`")
    return values


def _refuse(constant: str) -> None:
    """Python's reader takes NaN and Infinity, JSON does not."""
    raise ValueError(f"{constant} is no JSON number")

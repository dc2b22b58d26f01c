"""All trials as a table for other programs: rows of plain dictionaries, CSV, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brittle.errors import DataError, UsageError
from brittle.files import check_writable, replacing, write_text
from brittle.results.study import TrialRow

# Columns of the table; all others are `config.FIELD` (of the trial) and `measure.NAME`.
_KEY, _SECONDS, _CODE, _CONFIG, _MEASURE = "key", "seconds", "code", "config.", "measure."
_HEAD = (_KEY, _SECONDS, _CODE)
_PACKED = ".gz"
# Inside a configuration these stand as JSON text, which begins so: a column for each item would differ between trials.
_NESTED, _OPEN = (dict, list), ("{", "[")


def frame(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """A data frame without a library: one flat dictionary per trial, all with the same keys in the same order.

    Columns: key, seconds, code, `config.data`, `config.source.kind`, ..., `measure.clean`, ... A value that a trial
    does not have is None; lists inside a configuration are JSON text. `pandas.DataFrame(frame(rows))` takes it so.
    """
    flat = [
        {
            _KEY: row.key,
            _SECONDS: row.seconds,
            _CODE: row.code,
            **_flat(row.config, _CONFIG),
            **{_MEASURE + name: value for name, value in row.measures.items()},
        }
        for row in rows
    ]
    columns = _columns(flat)
    return [{column: one.get(column) for column in columns} for one in flat]


def write_csv(rows: Sequence[TrialRow], path: str | Path) -> Path:
    """`frame` as CSV (UTF-8, header, "\\n"); None is an empty field, numbers keep all their digits.

    A name that ends in .gz makes a compressed file, the same bytes for the same rows.

    Raises:
        UsageError: the file cannot be written.
    """
    if Path(path).suffix != _PACKED:
        return write_text(path, csv_text(rows))
    check_writable(path)
    with replacing(path) as temporary:
        Path(temporary).write_bytes(gzip.compress(csv_text(rows).encode(), mtime=0))
    return Path(path)


def csv_text(rows: Sequence[TrialRow]) -> str:
    """What `write_csv` writes."""
    table, text = frame(rows), io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(table[0]) if table else [*_HEAD], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in table)
    return text.getvalue()


def write_parquet(rows: Sequence[TrialRow], path: str | Path) -> Path:
    """`frame` as Parquet, by pyarrow.

    Raises:
        UsageError: pyarrow is not installed, a column holds values of several types, or the file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError('Parquet needs pyarrow: pip install "brittle[parquet]", or write CSV') from None
    check_writable(path)
    table = frame(rows)
    columns = {name: _of_one_type([row[name] for row in table]) for name in (table[0] if table else _HEAD)}
    with replacing(path) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
    return Path(path)


def read_csv(path: str | Path) -> tuple[TrialRow, ...]:
    """The rows that `write_csv` wrote, compressed or not.

    Fields of a configuration that were None are left out.

    Raises:
        DataError: no such file, or one of something else.
    """
    try:
        opened = gzip.open if Path(path).suffix == _PACKED else open
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            return tuple(_row(values) for values in csv.DictReader(file))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}; expected trials as CSV") from None
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): give trials as CSV") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        said = " ".join(f"{type(error).__name__} {error}".split())
        raise DataError(f"{path} holds no trials as CSV ({said}): expected a file written by a study") from None


def _flat(values: dict[str, Any], before: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{before}{name}."))
        else:
            flat[before + name] = json.dumps(value) if isinstance(value, _NESTED) else value
    return flat


def _columns(flat: Sequence[dict[str, Any]]) -> list[str]:
    """All names: configurations before measures, each in the order of first appearance."""
    names = dict.fromkeys(name for row in flat for name in row)
    return sorted(names, key=lambda name: (name.startswith(_MEASURE), name.startswith(_CONFIG)))


def _cell(value: Any) -> str:
    """JSON text but for printable strings that no JSON value looks like; None is nothing."""
    if value is None:
        return ""
    if isinstance(value, str) and value.isprintable() and (value[:1] in _OPEN or not _is_json(value)):
        return value
    return json.dumps(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return text == ""
    return True


def _of_one_type(values: list[Any]) -> list[Any]:
    """A column that Parquet can hold: whole numbers beside others become floats, numbers beside text become text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]


def _row(values: dict[str, str]) -> TrialRow:
    config: dict[str, Any] = {}
    measures: dict[str, float] = {}
    for name, text in values.items():
        if name.startswith(_MEASURE) and text != "":
            measures[name.removeprefix(_MEASURE)] = float(text)
        elif name.startswith(_CONFIG) and text != "":
            _put(config, name.removeprefix(_CONFIG).split("."), _value(text))
    return TrialRow(_text(values[_KEY]), config, measures, float(values[_SECONDS]), _text(values[_CODE]))


def _text(cell: str) -> str:
    """A string as `_cell` wrote it: quoted where it looks like a number, as a key may."""
    value = _value(cell)
    if not isinstance(value, str):
        raise ValueError(f"{cell!r} is no text")
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(config: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        config = config.setdefault(part, {})
    config[path[-1]] = value

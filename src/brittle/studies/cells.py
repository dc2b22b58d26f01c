"""A study's trials as tables: one for each cell, seeds down and levels across, as `statistics` wants them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from brittle.errors import UsageError
from brittle.studies.grid import control_trials, main_trials
from brittle.studies.study import Study
from brittle.studies.trial import Trial


@dataclass(frozen=True)
class Cell:
    """Trials that differ in seed and level alone.

    Attributes:
        name: what the cell has that the others have not, such as "data digits, hold_scale true".
        levels: names of the k levels, the reference first.
        seeds: n training seeds.
        trials: n rows of k; None where the study has no such trial.
        counts: False for a control.
    """

    name: str
    levels: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: tuple[tuple[Trial | None, ...], ...]
    counts: bool = True


def table_cells(study: Study) -> tuple[Cell, ...]:
    """The cells of a study's criterion, then one or more for each control.

    The levels are the values of the field `criterion.over`, in the order of the study. Where that is a field of the
    source (`source.strength`), dense trials with everything else equal are the reference of each cell.

    Raises:
        UsageError: no criterion, or no trial has the field.
    """
    if study.criterion is None:
        raise UsageError(f"study {study.name!r} has no criterion: add one, with predictor, outcome and direction")
    over = study.criterion.over
    cells = _cells(main_trials(study), over, study.name, counts=True)
    for control in study.controls:
        cells += _cells(control_trials(study, control.name), over, control.name, counts=False)
    return tuple(cells)


def _cells(trials: Sequence[Trial], over: str, name: str, counts: bool) -> list[Cell]:
    """Trials sorted by everything that is neither seed nor level."""
    parts = over.split(".")
    tables: dict[str, dict[str, dict[int, Trial]]] = {}
    dense: dict[str, dict[int, Trial]] = {}
    for trial in trials:
        config = trial.model_dump(mode="json")
        seed = config.pop("seed")
        if parts[0] == "source" and len(parts) > 1 and config["source"] == {"kind": "dense"}:
            dense.setdefault(_without_source(config), {})[seed] = trial
            continue
        level = _pop(config, parts)
        if level is None:
            raise UsageError(
                f"{name}: criterion.over is {over}, but a trial has no such field: choose one they all have"
            )
        tables.setdefault(json.dumps(config), {}).setdefault(level, {})[seed] = trial
    named = _names([json.loads(rest) for rest in tables], name if not counts else "")
    cells = []
    for (rest, levels), label in zip(tables.items(), named, strict=True):
        reference = dense.get(_without_source(json.loads(rest)))
        columns = {**({"dense": reference} if reference else {}), **levels}
        cells.append(_cell(label or name, columns, counts))
    return cells


def _cell(name: str, columns: dict[str, dict[int, Trial]], counts: bool) -> Cell:
    seeds = tuple(dict.fromkeys(seed for column in columns.values() for seed in column))
    rows = tuple(tuple(column.get(seed) for column in columns.values()) for seed in seeds)
    return Cell(name, tuple(columns), seeds, rows, counts)


def _without_source(config: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in config.items() if key != "source"})


def _pop(config: dict[str, Any], parts: Sequence[str]) -> str | None:
    """Take the value out, as a name; None where there is none."""
    target: Any = config
    for part in parts[:-1]:
        target = target.get(part) if isinstance(target, dict) else None
    if not isinstance(target, dict) or parts[-1] not in target:
        return None
    return _label(target.pop(parts[-1]))


def _label(value: Any) -> str:
    """ "penalty group_lasso 0.001" of a source, the value itself of anything else."""
    if isinstance(value, dict):
        return " ".join(_label(one) for one in value.values())
    if isinstance(value, list):
        return " ".join(map(_label, value))
    return value if isinstance(value, str) else json.dumps(value)


def _names(rests: Sequence[dict[str, Any]], first: str) -> list[str]:
    """What tells each cell from the others, after `first`."""
    flat = [dict(_flat(rest)) for rest in rests]
    keys = dict.fromkeys(key for one in flat for key in one)
    differ = [key for key in keys if len({one.get(key) for one in flat}) > 1]
    return [
        ", ".join([*([first] if first else []), *(f"{key} {one[key]}" for key in differ if key in one)]) for one in flat
    ]


def _flat(config: dict[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", _label(value)

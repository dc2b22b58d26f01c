"""A study without a criterion: what was measured, one row for each configuration, averaged over its seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brittle.report import format as fmt
from brittle.report.study_words import signs
from brittle.results.study import StudyResult, TrialRow
from brittle.studies.statistics.over_seeds import mean_interval

# More than this many measures or rows are left to the CSV.
_MEASURES, _ROWS = 8, 200


@dataclass(frozen=True)
class Measurements:
    """A table: headings of the measures, rows of (name, seeds, cells), and how many of each were left out."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[str, ...]], ...]
    measures_left_out: int
    rows_left_out: int


def measurement_table(result: StudyResult) -> Measurements:
    """Means over seeds with 95 % intervals; a row is named by what tells its configuration from the others."""
    names = list(dict.fromkeys(name for row in result.trials for name in row.measures))
    groups: dict[str, list[TrialRow]] = {}
    for row in result.trials:
        config = {key: value for key, value in row.config.items() if key != "seed"}
        groups.setdefault(json.dumps(config, sort_keys=True), []).append(row)
    labels = _labels([members[0].config for members in groups.values()])
    rows = [
        (label, len(members), tuple(_cell(members, name) for name in names[:_MEASURES]))
        for label, members in zip(labels, groups.values(), strict=True)
    ]
    return Measurements(
        tuple(signs(name) for name in names[:_MEASURES]),
        tuple(rows[:_ROWS]),
        max(0, len(names) - _MEASURES),
        max(0, len(rows) - _ROWS),
    )


def _cell(rows: Sequence[TrialRow], name: str) -> str:
    values = np.array([row.measures[name] for row in rows if name in row.measures])
    if not len(values):
        return fmt.MISSING
    if len(values) == 1:
        return fmt.number(float(values[0]))
    low, high = mean_interval(values)
    return f"{fmt.number(float(values.mean()))} [{fmt.number(low)}, {fmt.number(high)}]"


def _labels(configs: Sequence[dict[str, Any]]) -> list[str]:
    flat = [dict(_flat(config)) for config in configs]
    keys = dict.fromkeys(key for one in flat for key in one if key != "seed")
    differ = [key for key in keys if len({one.get(key) for one in flat}) > 1]
    return [", ".join(f"{key} {one[key]}" for key in differ if key in one) or "all trials" for one in flat]


def _flat(config: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{key}.")
        else:
            found.append((before + key, value if isinstance(value, str) else json.dumps(value)))
    return found

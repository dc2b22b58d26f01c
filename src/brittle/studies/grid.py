"""From a study to its trials: every combination of every grid, in a fixed order, none twice."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from brittle.errors import UsageError
from brittle.studies.problems import Place, Problem, dotted, problems_of, sentence
from brittle.studies.study import Study
from brittle.studies.trial import Trial

# More trials than this are a slip of the pen, and would fill the memory before anybody sees.
MOST_TRIALS: Final = 100_000


def expand(study: Study) -> tuple[Trial, ...]:
    """All trials of a study: those of its grids, its cells, its controls; the base trial where there are neither.

    Inside a grid the last axis changes fastest. Axes are set in their order, so `source` may come before `source.rank`.

    Raises:
        UsageError: a combination that is no trial, in one line with the field's name, or more than 100,000 trials.
    """
    trials, problems = _all(study)
    if problems:
        raise UsageError(sentence(problems))
    return tuple(dict.fromkeys(trials))


def trials_of(base: Trial, grid: Mapping[str, Sequence[Any]]) -> tuple[Trial, ...]:
    """The trials of one grid.

    Args:
        base: what is changed.
        grid: dotted field -> values, plain ones or models such as `PenaltySource`.

    Raises:
        UsageError: as `expand`.
    """
    plain = {axis: tuple(to_jsonable_python(list(values))) for axis, values in grid.items()}
    return expand(Study(name="grid", question="-", base=base, grid=(plain,)))


def problems_in(study: Study) -> list[Problem]:
    """What is wrong with a study's trials, and where in the study that stands; each place once."""
    return list({problem.place: problem for problem in _all(study)[1]}.values())


def main_trials(study: Study) -> tuple[Trial, ...]:
    """The trials of grids and cells, without the controls."""
    return expand(study.model_copy(update={"controls": ()}))


def control_trials(study: Study, name: str) -> tuple[Trial, ...]:
    """The trials of one control.

    Raises:
        UsageError: no control of that name.
    """
    for control in study.controls:
        if control.name == name:
            return expand(study.model_copy(update={"grid": (control.grid,), "cells": (), "controls": ()}))
    raise UsageError(f"study {study.name!r} has no control {name!r}: {[c.name for c in study.controls]} are there")


def _all(study: Study) -> tuple[list[Trial], list[Problem]]:
    size = sum(math.prod(map(len, grid.values())) for grid, _ in _grids(study)) + len(study.cells)
    if size > MOST_TRIALS:
        return [], [Problem(("grid",), f"the grids have {size} trials, more than {MOST_TRIALS}: leave some values out")]
    base = study.base.model_dump(mode="json")
    if study.measures is not None:
        base["measures"] = list(study.measures)
    trials: list[Trial] = []
    problems: list[Problem] = []
    for changes in _changes(study):
        config = json.loads(json.dumps(base))
        wrong = _apply(config, changes)
        if wrong is None:
            try:
                trials.append(Trial.model_validate_json(json.dumps(config)))
            except ValidationError as error:
                problems += [_placed(one, changes) for one in problems_of(error, Trial, config)]
        else:
            problems.append(wrong)
    return trials, problems


def _grids(study: Study) -> list[tuple[Mapping[str, Sequence[Any]], Place]]:
    """All grids and their places in the study."""
    own: list[tuple[Mapping[str, Sequence[Any]], Place]] = [(grid, ("grid", i)) for i, grid in enumerate(study.grid)]
    return own + [(control.grid, ("controls", i, "grid")) for i, control in enumerate(study.controls)]


# The changes that make a trial of the base: dotted field, value, place in the study.
_Changes = list[tuple[str, Any, Place]]


def _changes(study: Study) -> Iterator[_Changes]:
    grids = _grids(study)
    own = len(study.grid)
    if not own and not study.cells:
        yield []
    yield from _combinations(grids[:own])
    for i, cell in enumerate(study.cells):
        yield [(field, value, ("cells", i, field)) for field, value in cell.items()]
    yield from _combinations(grids[own:])


def _combinations(grids: Sequence[tuple[Mapping[str, Sequence[Any]], Place]]) -> Iterator[_Changes]:
    for grid, place in grids:
        axes = [[(field, value, (*place, field, j)) for j, value in enumerate(grid[field])] for field in grid]
        yield from map(list, itertools.product(*axes))


def _apply(config: dict[str, Any], changes: _Changes) -> Problem | None:
    """Set the fields in place; what cannot be set is told."""
    for field, value, place in changes:
        *parents, last = field.split(".")
        target: Any = config
        for i, part in enumerate(parents):
            target = target.get(part) if isinstance(target, dict) else None
            if not isinstance(target, dict):
                return Problem(place, f"{field} cannot be set: {'.'.join(parents[: i + 1])} has no fields inside")
        # A value may be shared by many combinations, and a later axis may write into it.
        target[last] = json.loads(json.dumps(value))
    return None


def _placed(problem: Problem, changes: _Changes) -> Problem:
    """A trial's problem at the place in the study where its value stands: the last axis that set it, else the base."""
    for field, _, place in reversed(changes):
        parts = tuple(field.split("."))
        if problem.place[: len(parts)] == parts:
            return Problem((*place, *problem.place[len(parts) :]), problem.text)
        # What is missing or too much may also belong to the axis that chose the kind.
        if dotted(problem.place).startswith(f"{field.rpartition('.')[0]}.") and field.endswith(".kind"):
            return Problem(place, problem.text)
    return Problem(("base", *problem.place), problem.text)

"""Claims share trials: trials that differ only in what is measured become one, with all that any claim wants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from brittle.errors import UsageError
from brittle.studies.claims.claim import CellPlan, Level
from brittle.studies.claims.quantities import MEASURE_NAMES, measure_of
from brittle.studies.trial import Threat, Trial


def merged(cells: Sequence[CellPlan]) -> tuple[CellPlan, ...]:
    """The same cells, whose trials measure all that is wanted of them, and nothing else.

    Raises:
        UsageError: a quantity that no measure gives.
    """
    wanted: dict[Trial, tuple[set[str], set[Threat]]] = {}
    for cell in cells:
        measures, threats = _wants(cell)
        for trial in (trial for level in cell.levels for trial in level.trials):
            have = wanted.setdefault(_bare(trial), (set(), set()))
            have[0].update(measures)
            have[1].update(threats)
    return tuple(replace(cell, levels=tuple(_full(level, wanted) for level in cell.levels)) for cell in cells)


def trials_of_cells(cells: Iterable[CellPlan]) -> tuple[Trial, ...]:
    """Each trial once; cells one after the other, so that whole cells are finished first."""
    trials = (
        seeded(trial, seed) for cell in cells for level in cell.levels for trial in level.trials for seed in cell.seeds
    )
    return tuple(dict.fromkeys(trials))


def seeded(trial: Trial, seed: int) -> Trial:
    """The trial under another seed."""
    return trial.model_copy(update={"seed": seed})


def _wants(cell: CellPlan) -> tuple[set[str], set[Threat]]:
    measures: set[str] = set()
    threats: set[Threat] = set()
    for one in (cell.predictor, *cell.outcomes):
        measure = measure_of(one.measure)
        if measure is None:
            raise UsageError(f"cell {cell.cell!r} wants {one.measure!r}, which no measure gives")
        measures.add(measure)
        if one.threat is not None:
            threats.add(one.threat)
    return measures, threats


def _bare(trial: Trial) -> Trial:
    return trial.model_copy(update={"measures": (), "threats": (), "seed": 0})


def _full(level: Level, wanted: dict[Trial, tuple[set[str], set[Threat]]]) -> Level:
    return replace(level, trial=_one(level.trial, wanted), minus=level.minus and _one(level.minus, wanted))


def _one(trial: Trial, wanted: dict[Trial, tuple[set[str], set[Threat]]]) -> Trial:
    measures, threats = wanted[_bare(trial)]
    return trial.model_copy(
        update={
            "measures": tuple(name for name in MEASURE_NAMES if name in measures),
            "threats": tuple(sorted(threats, key=lambda threat: (threat.norm, threat.epsilon))),
        }
    )

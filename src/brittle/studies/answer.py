"""From the trials that were run to the study's record: verdicts where enough is there. Free of torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Final, Literal

import numpy as np

from brittle.results.study import STUDY_SCHEMA, ClaimVerdict, StudyResult, TrialRow
from brittle.studies.cells import Cell, table_cells
from brittle.studies.claims.claim import CellPlan, Quantity
from brittle.studies.claims.merge import seeded
from brittle.studies.claims.quantities import points_of, spoken
from brittle.studies.grid import expand
from brittle.studies.keys import trial_key
from brittle.studies.presets import ClaimsPlan
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.table import CellTable
from brittle.studies.store import Store
from brittle.studies.study import Study
from brittle.studies.trial import Trial
from brittle.studies.verdict import ClaimCase, decide

ALPHA: Final = 0.05
# Rows by the key that their trial has under the code that runs now.
Rows = Mapping[str, TrialRow]


def rows_of(store: Store, trials: Sequence[Trial], reuse: Sequence[str] = ()) -> dict[str, TrialRow]:
    """The answers that a store has, as the functions below want them.

    Args:
        store: of the study.
        trials: which ones.
        reuse: as in `Store.rows`.
    """
    answered = store.answered(trials, reuse)
    keys = [key for key in dict.fromkeys(map(trial_key, trials)) if key in answered]
    return dict(zip(keys, store.rows(trials, reuse), strict=True))


def answer_claims(
    plan: ClaimsPlan,
    rows: Rows,
    *,
    failed: Collection[str] = (),
    seed: int = 0,
    alpha: float = ALPHA,
    command: str | None = None,
) -> StudyResult:
    """The verdicts of all claims on the trials that are there; cells need complete seeds, so some may have to wait.

    Args:
        plan: what was to be run.
        rows: what was, by `trial_key` (see `rows_of`).
        failed: keys of trials that raised.
        seed: of permutations and bootstraps.
        alpha: family-wise level.
        command: that made it, for the record.

    Raises:
        UsageError: as `verdict.decide`.
    """
    keys = {trial: trial_key(trial) for trial in plan.trials}
    cases = [
        ClaimCase(
            claim=claim.id,
            title=claim.title,
            question=claim.question,
            criterion=claim.criterion,
            cells=tuple(_table(cell, keys, rows) for cell in cells),
            sources=claim.sources,
            controls=claim.controls,
            would_change=claim.would_change,
            labels=dict(claim.labels),
        )
        for claim, cells in zip(plan.claims, plan.cells, strict=True)
    ]
    verdicts = decide(cases, seed, alpha)
    return _result(plan.name, plan.preset, plan.question, keys.values(), rows, verdicts, failed, alpha, command)


def answer_study(
    study: Study,
    rows: Rows,
    *,
    failed: Collection[str] = (),
    seed: int = 0,
    alpha: float = ALPHA,
    command: str | None = None,
) -> StudyResult:
    """A user's study: one claim from its criterion, its controls as cells that do not count; none without a criterion.

    Arguments and errors as `answer_claims`.
    """
    keys = [trial_key(trial) for trial in expand(study)]
    verdicts: tuple[ClaimVerdict, ...] = ()
    if study.criterion is not None:
        verdicts = decide([_case(study, rows)], seed, alpha)
    return _result(study.name, "", study.question, keys, rows, verdicts, failed, alpha, command)


def _case(study: Study, rows: Rows) -> ClaimCase:
    wanted = study.criterion
    assert wanted is not None
    direction: Literal[-1, 1] = -1 if wanted.direction == "falls" else 1
    points = points_of(wanted.outcome) == 100
    limit = None if not points else 0.0 if direction < 0 else 100.0
    target = Target(
        wanted.outcome, spoken(wanted.outcome), direction, wanted.smallest, "points" if points else "", limit
    )
    cells = table_cells(study)
    x, y = (Quantity(name, name, points_of(name)) for name in (wanted.predictor, wanted.outcome))
    return ClaimCase(
        claim=study.name,
        title=study.question,
        question=study.question,
        criterion=Criterion((target,)),
        cells=tuple(_own_table(cell, x, y, rows) for cell in cells if len(cell.levels) > 1),
        sources=tuple(cell.name for cell in cells if cell.counts),
        controls=tuple(cell.name for cell in cells if not cell.counts),
        labels={name: spoken(name) for name in (wanted.predictor, wanted.outcome)},
    )


def _own_table(cell: Cell, x: Quantity, y: Quantity, rows: Rows) -> CellTable:
    found = [[None if trial is None else rows.get(trial_key(trial)) for trial in row] for row in cell.trials]
    held = all(trial is None or trial.hold_scale for row in cell.trials for trial in row)
    return CellTable(
        cell=cell.name,
        levels=cell.levels,
        seeds=cell.seeds,
        predictor=x.name,
        x=_array([[_value(row, x) for row in line] for line in found]),
        outcomes={y.name: _array([[_value(row, y) for row in line] for line in found])},
        scale="held" if held else "free",
        counts=cell.counts,
        trials=tuple(tuple((row.key,) if row else () for row in line) for line in found),
    )


def _table(cell: CellPlan, keys: Mapping[Trial, str], rows: Rows) -> CellTable:
    def row(trial: Trial, seed: int) -> TrialRow | None:
        return rows.get(keys[seeded(trial, seed)])

    found = [[tuple(row(trial, seed) for trial in level.trials) for level in cell.levels] for seed in cell.seeds]
    table = CellTable(
        cell=cell.cell,
        levels=tuple(level.name for level in cell.levels),
        seeds=cell.seeds,
        predictor=cell.predictor.name,
        x=_array([[_value(some[0], cell.predictor) for some in line] for line in found]),
        outcomes={
            one.name: _array([[_difference(some, one) for some in line] for line in found]) for one in cell.outcomes
        },
        scale=cell.scale,
        pool=cell.pool,
        counts=cell.counts,
        trials=tuple(tuple(tuple(row.key for row in some if row) for some in line) for line in found),
    )
    return table.by_predictor() if cell.ordered else table


def _difference(rows: Sequence[TrialRow | None], quantity: Quantity) -> float:
    """The first one's, minus the second's where there are two."""
    first, *others = (_value(row, quantity) for row in rows)
    return first - sum(others)


def _value(row: TrialRow | None, quantity: Quantity) -> float:
    """NaN for a trial without an answer, or an answer without the number."""
    value = None if row is None else row.measures.get(quantity.measure)
    return float("nan") if value is None else quantity.factor * value


def _array(values: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _result(
    name: str,
    preset: str,
    question: str,
    keys: Iterable[str],
    rows: Rows,
    claims: tuple[ClaimVerdict, ...],
    failed: Collection[str],
    alpha: float,
    command: str | None,
) -> StudyResult:
    keys = list(keys)
    there = tuple(rows[key] for key in keys if key in rows)
    broken = sum(key in failed and key not in rows for key in keys)
    return StudyResult(
        schema=STUDY_SCHEMA,
        brittle=version("brittle"),
        name=name,
        preset=preset,
        question=question,
        trials=there,
        claims=claims,
        missing=len(keys) - len(there) - broken,
        failed=broken,
        alpha=alpha,
        command=command,
        seconds=float(sum(row.seconds for row in there)),
    )

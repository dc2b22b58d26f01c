from __future__ import annotations

import pytest

from brittle.errors import UsageError
from brittle.studies.claims.claim import CellPlan, Level, Quantity
from brittle.studies.claims.merge import merged, trials_of_cells
from brittle.studies.claims.quantities import CLEAN, COMPRESSIBILITY, MEASURE_NAMES, at, robust
from brittle.studies.measures.table import MEASURES
from brittle.studies.trial import RankSource, Threat, Trial

WIDE, SMALL = Threat(norm="linf", epsilon=0.2), Threat(norm="linf", epsilon=0.1)
DENSE, LOW = (Level(name, Trial(source=source)) for name, source in (("d", Trial().source), ("r", RankSource(rank=2))))


def cell(name: str, levels: tuple[Level, ...], *outcomes: Quantity) -> CellPlan:
    return CellPlan(name, levels, (3, 4), COMPRESSIBILITY["neuron"], outcomes, "free")


def test_measures_have_the_names_that_run() -> None:
    assert tuple(MEASURES) == MEASURE_NAMES


def test_shared_trials_measure_what_any_cell_wants_and_others_no_more() -> None:
    first, second = merged([cell("a", (DENSE, LOW), robust(SMALL)), cell("b", (DENSE,), at(WIDE, "gap", "gap"))])
    dense, low = (level.trial for level in first.levels)
    assert second.levels[0].trial == dense
    assert dense.measures == ("robust", "structure", "gap")
    assert dense.threats == (SMALL, WIDE)
    assert (low.measures, low.threats) == (("robust", "structure"), (SMALL,))


def test_both_networks_of_a_difference_are_run() -> None:
    level = Level("pair", LOW.trial, minus=DENSE.trial)
    (plan,) = merged([cell("a", (level,), CLEAN)])
    trials = trials_of_cells([plan, plan])
    assert [(trial.seed, trial.source.kind) for trial in trials] == [
        (3, "rank"),
        (4, "rank"),
        (3, "dense"),
        (4, "dense"),
    ]
    assert {trial.measures for trial in trials} == {("clean", "structure")}


def test_a_number_that_nothing_gives_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cell 'a' wants 'luck\.linf@0\.1', which no measure gives"):
        merged([cell("a", (DENSE,), Quantity("luck", "luck.linf@0.1"))])

from __future__ import annotations

from typing import Any

import pytest

from brittle.errors import UsageError
from brittle.studies.cells import table_cells
from brittle.studies.checked import study_from
from brittle.studies.study import Study
from brittle.studies.trial import Trial

DENSE = {"kind": "dense"}


def study(over: str, grid: Any, **rest: Any) -> Study:
    criterion = {"predictor": "p", "outcome": "o", "over": over}
    return study_from({"name": "mine", "question": "q", "grid": grid, "criterion": criterion, **rest})


def test_levels_are_the_values_in_their_order_and_seeds_the_rows() -> None:
    ranks = [{"kind": "rank", "rank": rank} for rank in (8, 2)]
    (cell,) = table_cells(study("source", {"source": [DENSE, *ranks], "seed": [5, 3]}))
    assert (cell.name, cell.levels, cell.seeds, cell.counts) == ("mine", ("dense", "rank 8", "rank 2"), (5, 3), True)
    for seed, row in zip(cell.seeds, cell.trials, strict=True):
        assert row == tuple(Trial.model_validate({"seed": seed, "source": source}) for source in (DENSE, *ranks))


def test_cells_are_what_differs_beside_seed_and_level() -> None:
    penalty = {"kind": "penalty", "name": "l1", "strength": 1.0}
    grid = {"hold_scale": [False, True], "source": [penalty], "source.strength": [0.5, 1.0], "seed": [0]}
    dense = {"hold_scale": [True, False], "seed": [0, 1]}
    free, held = table_cells(study("source.strength", [grid, dense]))
    assert (free.name, held.name) == ("hold_scale false", "hold_scale true")
    assert held.levels == ("dense", "0.5", "1.0")
    assert held.seeds == (0, 1)
    assert held.trials[1][1:] == (None, None)
    first = held.trials[0][0]
    assert first is not None
    assert (first.hold_scale, first.source.kind) == (True, "dense")


def test_controls_are_cells_of_their_own_that_do_not_count() -> None:
    scales = {"source": [{"kind": "scale", "factor": 0.5}], "seed": [0], "test": [100, 200]}
    main, first, second = table_cells(
        study("source", {"source": [DENSE], "seed": [0]}, controls=[{"name": "scale", "grid": scales}])
    )
    assert main.counts
    assert not first.counts
    assert (first.name, second.name) == ("scale, test 100", "scale, test 200")
    assert first.levels == ("scale 0.5",)


def test_without_a_criterion_or_its_field_there_are_no_cells() -> None:
    with pytest.raises(UsageError, match="study 's' has no criterion: add one"):
        table_cells(study_from({"name": "s", "question": "q"}))
    with pytest.raises(UsageError, match=r"criterion.over is source.rank, but a trial has no such field"):
        table_cells(study("source.rank", {"source": [{"kind": "width", "factor": 0.5}]}))

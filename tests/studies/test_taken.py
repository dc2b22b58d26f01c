from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from brittle.errors import DataError
from brittle.results.study import TrialRow
from brittle.studies.export import read_csv, write_csv
from brittle.studies.keys import trial_key
from brittle.studies.store import Store
from brittle.studies.taken import take_answers
from brittle.studies.trial import RankSource, Threat, Trial

TRIALS = (Trial(), Trial(source=RankSource(rank=3), threats=(Threat(norm="l2", epsilon=0.5),), seed=1))
CODE = "12e4"  # looks like a number, as a hash may


def rows() -> tuple[TrialRow, ...]:
    return tuple(
        TrialRow(trial_key(trial, CODE), trial.model_dump(mode="json"), {"clean": 0.1 + 0.2}, 1.5, CODE)
        for trial in TRIALS
    )


@pytest.mark.parametrize("name", ["trials.csv", "trials.csv.gz"])
def test_a_table_brings_answers_into_another_file_once(tmp_path: Path, name: str) -> None:
    table = read_csv(write_csv(rows(), tmp_path / name))
    with Store(tmp_path / "here.sqlite") as store:
        assert take_answers(store, table) == 2
        assert take_answers(store, table) == 0
        assert store.answered(TRIALS) == frozenset(), "of another code version"
        back = store.rows(TRIALS, reuse=(CODE,))
    assert [(row.key, row.measures, row.seconds, row.code) for row in back] == [
        (row.key, row.measures, row.seconds, row.code) for row in rows()
    ]


def test_compressed_tables_are_the_same_bytes_for_the_same_rows(tmp_path: Path) -> None:
    first, second = (write_csv(rows(), tmp_path / f"{i}.csv.gz").read_bytes() for i in (1, 2))
    assert first == second


def test_a_changed_row_is_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    good, bad = rows()
    with Store(tmp_path / "here.sqlite") as store:
        with pytest.raises(DataError, match="its key does not fit"):
            take_answers(store, (good, replace(bad, config={**bad.config, "seed": 2})))
        with pytest.raises(DataError, match="is none"):
            take_answers(store, (good, replace(bad, config={"seed": -1})))
        assert store.codes() == ()

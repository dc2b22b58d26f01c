from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from brittle.errors import UsageError
from brittle.studies import keys, store
from brittle.studies.engine import Ran, run_trials
from brittle.studies.keys import trial_key
from brittle.studies.store import Store
from brittle.studies.trial import PenaltySource, Trial
from tests.studies import cheap
from tests.studies.cheap import answer, logged, trials


def same(ran: Ran) -> tuple[int, int, int, int, int, bool]:
    return ran.wanted, ran.already, ran.finished, ran.failed, ran.missing, ran.stopped


def test_every_trial_is_answered_by_the_function_and_only_once(tmp_path: Path) -> None:
    asked = (*trials(4), *trials(2))
    with Store(tmp_path / "t.sqlite") as db:
        assert same(run_trials(asked, db, cheap.cheap, memory=tmp_path / "new" / "folder")) == (4, 0, 4, 0, 0, False)
        assert same(run_trials(trials(6), db, cheap.cheap, memory=tmp_path)) == (6, 4, 2, 0, 0, False)
        rows = db.rows(trials(6))
        assert [row.measures for row in rows] == [answer(trial).measures for trial in trials(6)]
        assert [row.config for row in rows] == [trial.model_dump(mode="json") for trial in trials(6)]
        assert [row.key for row in rows] == [trial_key(trial) for trial in trials(6)]
        for trial, row in zip(trials(6), rows, strict=True):
            np.testing.assert_array_equal(db.arrays(row.key)["right"], answer(trial).arrays["right"])
    assert logged(tmp_path) == ["seed 4", "seed 5"]


def test_failures_are_written_down_and_retried_on_request_only(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:

        def run(retry: bool) -> tuple[int, int, int, int, int, bool]:
            return same(run_trials(trials(3), db, cheap.fails_once, memory=tmp_path, retry=retry))

        assert run(False) == (3, 0, 2, 1, 1, False)
        (failure,) = db.failures(trials(3))
        assert (failure.key, failure.config["seed"], failure.tries) == (trial_key(Trial(seed=1)), 1, 1)
        assert failure.traceback.rstrip().endswith("ValueError: not yet")
        assert "fails_once" in failure.traceback
        assert run(False) == (3, 2, 0, 0, 1, False)
        assert run(True) == (3, 2, 0, 1, 1, False)
        assert db.failures(trials(3))[0].tries == 2
        assert run(True) == (3, 2, 1, 0, 0, False)
        assert db.failures(trials(3)) == ()
        assert len(db.rows(trials(3))) == 3


def test_after_the_deadline_nothing_is_started_and_nothing_stays_claimed(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        past = run_trials(trials(3), db, cheap.cheap, deadline=time.monotonic() - 1, memory=tmp_path)
        assert same(past) == (3, 0, 0, 0, 3, True)
        ahead = run_trials(trials(3), db, cheap.cheap, deadline=time.monotonic() + 1000)
        assert same(ahead) == (3, 0, 3, 0, 0, False)
    assert logged(tmp_path) == []


def test_an_interrupted_run_gives_its_trials_back(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        with pytest.raises(KeyboardInterrupt):
            run_trials(trials(3), db, cheap.interrupted)
        assert db._connection.execute("SELECT count(*) FROM running").fetchone() == (0,)
        assert same(run_trials(trials(3), db, cheap.cheap)) == (3, 1, 2, 0, 0, False)


def test_progress_counts_what_is_left_to_do(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with Store(tmp_path / "t.sqlite") as db:
        run_trials(trials(2), db, cheap.cheap)
        run_trials(trials(4), db, cheap.cheap, progress=lambda *said: told.append(said))
    assert told == [
        ("2 of 4 trials have their answers already", 0, 0),
        ("trials", 0, 2),
        ("trials", 1, 2),
        ("trials", 2, 2),
    ]


def test_answers_of_another_code_are_taken_only_when_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        with monkeypatch.context() as old:
            for module in (keys, store):
                old.setattr(module, "code_version", lambda: "old/torch-1")
            run_trials(trials(2), db, cheap.cheap)
        assert db.rows(trials(2)) == ()
        assert db.codes() == (("old/torch-1", 2),)
        rows = db.rows(trials(3), reuse=["older", "old/torch-1"])
        assert [row.key for row in rows] == [trial_key(trial, "old/torch-1") for trial in trials(2)]
        ran = run_trials(trials(3), db, cheap.cheap, reuse=["old/torch-1"], memory=tmp_path)
        assert same(ran) == (3, 2, 1, 0, 0, False)
        assert logged(tmp_path) == ["seed 2"]
        assert run_trials(trials(3), db, cheap.cheap).finished == 2
        assert dict(db.codes()) == {"old/torch-1": 2, keys.code_version(): 3}


def test_the_order_and_what_ran_before_change_nothing(tmp_path: Path) -> None:
    answers = []
    for i, asked in enumerate((trials(3), trials(3)[::-1])):
        np.random.seed(i)
        random.seed(i)
        before = np.random.get_state()[1].copy()
        with Store(tmp_path / f"{i}.sqlite") as db:
            run_trials(asked, db, cheap.careless)
            answers.append([row.measures for row in db.rows(trials(3))])
        np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert answers[0] == answers[1]


def rates(count: int) -> tuple[Trial, ...]:
    """All in one group."""
    return tuple(Trial(seed=i, source=PenaltySource(name="l1", strength=1.0 + i)) for i in range(count))


def together(db: Store, asked: Sequence[Trial]) -> list[int]:
    return list(db.together(asked).values())


def test_groups_are_run_whole_and_said_to_be(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        run_trials(rates(5)[1:3], db, cheap.cheap, memory=tmp_path)
        told: list[tuple[str, int, int]] = []
        ran = run_trials(
            rates(5),
            db,
            cheap.cheap,
            group_function=cheap.whole_group,
            memory=tmp_path,
            progress=lambda *said: told.append(said),
        )
        assert told[1:] == [("trials", 0, 3), ("trials", 3, 3)]
        assert same(ran) == (5, 2, 3, 0, 0, False)
        # Those with answers came along and keep the answers that they had.
        assert logged(tmp_path) == ["seed 1", "seed 2", "group 0 1 2 3 4"]
        assert together(db, rates(5)) == [5, 1, 1, 5, 5]
        assert [row.measures for row in db.rows(rates(5))] == [answer(trial).measures for trial in rates(5)]


def test_members_of_a_group_that_fails_are_run_alone(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        ran = run_trials(rates(3), db, cheap.cheap, group_function=cheap.broken_group)
        assert same(ran) == (3, 0, 3, 0, 0, False)
        assert together(db, rates(3)) == [1, 1, 1]


def test_arrays_of_objects_are_a_failure(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        assert run_trials(trials(1), db, cheap.wrong_array).failed == 1
        assert "array 'objects' holds Python objects" in db.failures(trials(1))[0].traceback


def test_impossible_numbers_of_workers_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db, pytest.raises(UsageError, match="workers must be at least 1, got 0"):
        run_trials(trials(1), db, cheap.cheap, workers=0)

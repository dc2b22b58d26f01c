from __future__ import annotations

import io
import math
import os
import sqlite3
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brittle.errors import DataError, UsageError
from brittle.studies.arrays import from_npz, to_npz
from brittle.studies.jobs import Failed, Finished
from brittle.studies.keys import trial_key
from brittle.studies.lease import SILENCE, new_holder
from brittle.studies.store import Store
from brittle.studies.trial import Trial

TRIAL = Trial()
KEY = trial_key(TRIAL)
OWN = {KEY: TRIAL}


def finished(value: float = 0.5, **arrays: np.ndarray) -> Finished:
    return Finished(KEY, {"clean": value}, arrays, 1.5)


@pytest.fixture
def db(tmp_path: Path) -> Store:
    return Store(tmp_path / "t.sqlite")


def test_an_answer_comes_back_as_it_was(db: Store) -> None:
    arrays = {"right": np.array([True, False]), "file": np.arange(3, dtype=np.int16), "empty": np.zeros((0, 4))}
    db.finish([finished(0.1 + 0.2, **arrays)], OWN, "me")
    again = Store(db.path)
    (row,) = again.rows([TRIAL, Trial(seed=1)])
    assert (row.key, row.config, row.measures, row.seconds) == (
        KEY,
        TRIAL.model_dump(mode="json"),
        {"clean": 0.1 + 0.2},
        1.5,
    )
    back = again.arrays(KEY)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_arrays_of_other_keys_are_refused_and_none_are_none(db: Store) -> None:
    with pytest.raises(UsageError, match="no finished trial 'abc'"):
        db.arrays("abc")
    db.finish([finished()], OWN, "me")
    assert db.arrays(KEY) == {}


def test_equal_arrays_are_equal_bytes_whatever_their_order() -> None:
    a, b = np.arange(5), np.ones((2, 2), dtype=bool)
    first = to_npz({"a": a, "b": b})
    assert {entry.date_time[0] for entry in zipfile.ZipFile(io.BytesIO(first)).infolist()} == {1980}  # of no day
    assert first == to_npz({"b": b, "a": a})
    assert list(from_npz(first)) == ["a", "b"]


def test_the_first_answer_counts(db: Store) -> None:
    db.finish([finished(0.1, right=np.ones(1))], OWN, "me")
    db.finish([finished(0.9, right=np.zeros(1))], OWN, "you")
    assert db.rows([TRIAL])[0].measures == {"clean": 0.1}
    assert db.arrays(KEY)["right"][0] == 1


def test_numbers_that_are_none_stay_in_the_file_but_not_in_rows(db: Store) -> None:
    db.finish([Finished(KEY, {"a": math.nan, "b": math.inf, "c": 1.0}, {}, 0.0)], OWN, "me")
    assert db.rows([TRIAL])[0].measures == {"c": 1.0}
    kept = sqlite3.connect(db.path).execute("SELECT measures FROM trials").fetchone()[0]
    assert kept == '{"a": NaN, "b": Infinity, "c": 1.0}'


def test_a_failure_is_counted_and_an_answer_ends_it(db: Store) -> None:
    for said in ("one", "two"):
        db.finish([Failed(KEY, said)], OWN, "me")
    (failure,) = db.failures([TRIAL])
    assert (failure.traceback, failure.tries) == ("two", 2)
    db.finish([finished()], OWN, "me")
    assert db.failures([TRIAL]) == ()


def test_all_results_of_one_job_are_written_or_none(db: Store) -> None:
    other = trial_key(Trial(seed=1))
    with pytest.raises(KeyError):
        db.finish([finished(), replace(finished(), key=other)], OWN, "me")
    objects = Finished(other, {"a": 1.0}, {"x": np.array([object()])}, 0.0)
    with pytest.raises(ValueError, match="Object arrays"):
        db.finish([finished(), objects], {**OWN, other: Trial(seed=1)}, "me")
    assert db.rows([TRIAL]) == ()


def test_claims(db: Store) -> None:
    me, you = new_holder(time.time()), new_holder(time.time())
    assert db.claim([KEY], me, {}) == {KEY: "mine"}
    assert db.claim([KEY], me, {}) == {KEY: "mine"}
    assert Store(db.path).claim([KEY], you, {}) == {KEY: "taken"}
    db.release(me.owner)
    assert db.claim([KEY], you, {}) == {KEY: "mine"}
    db.finish([Failed(KEY, "no")], OWN, you.owner)
    assert db.claim([KEY], me, {}) == {KEY: "failed"}
    assert db.claim([KEY], me, {KEY: 1}) == {KEY: "mine"}
    db.finish([finished()], OWN, me.owner)
    assert db.claim([KEY], you, {KEY: 1}) == {KEY: "finished"}


def test_trials_of_the_dead_are_taken_over(db: Store) -> None:
    now = time.time()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    me, gone = new_holder(now), replace(new_holder(now), pid=child)
    assert db.claim([KEY], gone, {}) == {KEY: "mine"}
    assert db.claim([KEY], me, {}) == {KEY: "mine"}
    db.release(me.owner)
    reborn = replace(new_holder(now), born="1")  # another process had this number
    db.claim([KEY], reborn, {})
    assert db.claim([KEY], me, {}) == {KEY: "mine"}


def test_holders_elsewhere_live_while_they_are_heard(db: Store) -> None:
    me, far = new_holder(time.time()), replace(new_holder(time.time()), host="another", pid=1)
    db.claim([KEY], far, {})
    assert db.claim([KEY], me, {}) == {KEY: "taken"}
    silent = "UPDATE running SET seen = seen - ?"
    db._connection.execute(silent, (SILENCE + 1,))
    db.beat(far.owner)
    assert db.claim([KEY], me, {}) == {KEY: "taken"}
    db._connection.execute(silent, (SILENCE + 1,))
    assert db.claim([KEY], me, {}) == {KEY: "mine"}


def test_of_many_first_openers_all_find_the_tables(tmp_path: Path) -> None:
    counts: list[int] = []

    def open_one() -> None:
        with Store(tmp_path / "new.sqlite") as store:
            counts.append(len(store.rows([TRIAL])))

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [0] * 8


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (cake TEXT)")
    connection.commit()


def newer(path: Path) -> None:
    with Store(path) as store:
        store._connection.execute("PRAGMA user_version = 99")


def text(path: Path) -> None:
    path.write_text("this is no database, " * 100)


def damaged(path: Path) -> None:
    with Store(path) as store:
        for seed in range(200):
            trial = Trial(seed=seed)
            result = Finished(trial_key(trial), {"clean": 0.5}, {}, 0.0)
            store.finish([result], {result.key: trial}, "me")
    content = bytearray(path.read_bytes())
    content[8192 : len(content) - 4096] = os.urandom(len(content) - 12288)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (foreign, "is a database of something else"),
        (newer, "has version 99 of the study tables, this brittle reads version 1"),
        (text, "is no SQLite file"),
        (damaged, "is damaged"),
    ],
)
def test_files_of_other_kinds_are_refused_in_one_line_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "t.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=said) as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_places_where_no_file_can_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such study file"):
        Store(tmp_path / "t.sqlite", create=False)
    with pytest.raises(UsageError, match="is no file"):
        Store(tmp_path)
    with pytest.raises(UsageError, match="is no writable folder"):
        Store(tmp_path / "missing" / "t.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "t.sqlite").close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="make it writable"):
        Store(tmp_path / "t.sqlite")


def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "t.sqlite").touch()
    with Store(tmp_path / "t.sqlite") as store:
        assert store.rows([TRIAL]) == ()


def test_a_file_that_goes_bad_in_use_is_one_line(db: Store) -> None:
    db._connection.execute("DROP TABLE trials")
    with pytest.raises(DataError, match=r"cannot use .*no such table") as caught:
        db.rows([TRIAL])
    assert "\n" not in str(caught.value)

"""Trials on disk: one SQLite file that any number of processes may have open, one transaction per answer."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from numpy.typing import NDArray

from brittle.errors import UsageError
from brittle.results.study import TrialRow
from brittle.studies.arrays import from_npz, to_npz
from brittle.studies.database import connect, reported, transaction
from brittle.studies.jobs import Failed, Finished
from brittle.studies.keys import code_version, config_key, trial_key
from brittle.studies.lease import Holder
from brittle.studies.trial import Trial

# Ours to run; answered; failed (again) meanwhile; or somebody else is at it.
Claim = Literal["mine", "finished", "failed", "taken"]


@dataclass(frozen=True)
class Failure:
    """A trial that raised: its traceback, and how often it was tried."""

    key: str
    config: dict[str, Any]
    traceback: str
    tries: int


class Store:
    """A study file. Close it, or use it in a `with` statement.

    Args:
        path: the file, made where there is none.
        create: False to refuse a file that is not there.

    Raises:
        UsageError: no file, and none to be made, or no folder to make it in.
        DataError: a file of something else, of another version, or damaged. All methods raise it where the file
            cannot be read or written any more.
    """

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = Path(path)
        self._connection = connect(self.path, create)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it stays on disk as it is."""
        self._connection.close()

    def rows(self, trials: Iterable[Trial], reuse: Sequence[str] = ()) -> tuple[TrialRow, ...]:
        """The answers there are, in the order of `trials`.

        Numbers that are not finite stay in the file but are left out of the rows: a record has no number there.

        Args:
            trials: which ones.
            reuse: other code versions whose answers are taken where this one has none, the best first; a row's key
                tells which it was.
        """
        found = (self._row(key) for key in self._found(trials, reuse).values())
        return tuple(
            TrialRow(key, json.loads(config), _numbers(json.loads(measures)), seconds, code)
            for key, config, measures, seconds, code in found
        )

    def arrays(self, key: str) -> dict[str, NDArray[Any]]:
        """The arrays of a finished trial.

        Raises:
            UsageError: no finished trial of that key.
        """
        with reported(self.path):
            self._row(key)
            found = self._connection.execute("SELECT npz FROM arrays WHERE key = ?", (key,)).fetchone()
        return from_npz(found[0]) if found else {}

    def failures(self, trials: Iterable[Trial]) -> tuple[Failure, ...]:
        """The trials that failed under the code that runs now, in the order of `trials`."""
        query = "SELECT key, config, traceback, tries FROM failures WHERE key = ?"
        with reported(self.path):
            found = (self._connection.execute(query, (key,)).fetchone() for key in map(trial_key, trials))
            return tuple(Failure(row[0], json.loads(row[1]), row[2], row[3]) for row in found if row)

    def codes(self) -> tuple[tuple[str, int], ...]:
        """The code versions whose answers are in the file, the newest first, and how many answers each has."""
        query = "SELECT code, count(*) FROM trials GROUP BY code ORDER BY max(finished) DESC, code"
        with reported(self.path):
            return tuple((str(code), int(count)) for code, count in self._connection.execute(query))

    def together(self, trials: Iterable[Trial], reuse: Sequence[str] = ()) -> dict[str, int]:
        """How many nets each finished trial was trained together with, itself included, by key."""
        query = "SELECT together FROM trials WHERE key = ?"
        found = self._found(trials, reuse).values()
        with reported(self.path):
            return {key: int(self._connection.execute(query, (key,)).fetchone()[0]) for key in found}

    def answered(self, trials: Iterable[Trial], reuse: Sequence[str] = ()) -> frozenset[str]:
        """Keys, under the code that runs now, of the trials that have an answer (see `rows`)."""
        return frozenset(self._found(trials, reuse))

    def claim(self, keys: Iterable[str], holder: Holder, tries: Mapping[str, int]) -> dict[str, Claim]:
        """Take trials to run them, in one transaction; those of dead holders are taken over.

        Args:
            keys: the trials.
            holder: who takes them.
            tries: how often each has failed already, where that is no reason to leave it; none for others.
        """
        now = time.time()
        with reported(self.path), transaction(self._connection):
            return {key: self._claim(key, holder, tries.get(key, 0), now) for key in keys}

    def beat(self, owner: str) -> None:
        """Say that a holder lives."""
        with reported(self.path), transaction(self._connection):
            self._connection.execute("UPDATE running SET seen = ? WHERE owner = ?", (time.time(), owner))

    def release(self, owner: str) -> None:
        """Give back all that a holder has taken."""
        with reported(self.path), transaction(self._connection):
            self._connection.execute("DELETE FROM running WHERE owner = ?", (owner,))

    def finish(self, results: Sequence[Finished | Failed], trials: Mapping[str, Trial], owner: str) -> None:
        """Write answers and failures down and give their trials back, all in one transaction.

        An answer that is already there stays: the first one counts.

        Args:
            results: what became of the trials.
            trials: by key, at least those of `results`.
            owner: who ran them.
        """
        rows = [(result, trials[result.key]) for result in results]
        with reported(self.path), transaction(self._connection):
            for result, trial in rows:
                self._finish(result, trial)
                self._connection.execute("DELETE FROM running WHERE key = ? AND owner = ?", (result.key, owner))

    def take(self, answers: Sequence[tuple[Trial, TrialRow]]) -> int:
        """Put in answers of other files, in one transaction; how many were new."""
        now = time.time()
        with reported(self.path), transaction(self._connection):
            return sum(
                self._connection.execute(
                    "INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        row.key,
                        config_key(trial),
                        trial.model_dump_json(),
                        json.dumps(row.measures),
                        row.seconds,
                        row.code,
                        1,
                        now,
                    ),
                ).rowcount
                for trial, row in answers
            )

    def _claim(self, key: str, holder: Holder, tries: int, now: float) -> Claim:
        ask = self._connection.execute
        if ask("SELECT 1 FROM trials WHERE key = ?", (key,)).fetchone():
            return "finished"
        if ask("SELECT 1 FROM failures WHERE key = ? AND tries > ?", (key, tries)).fetchone():
            return "failed"
        found = ask("SELECT owner, host, pid, born, seen FROM running WHERE key = ?", (key,)).fetchone()
        if found and found[0] != holder.owner and Holder(*found).lives(now):
            return "taken"
        row = (key, holder.owner, holder.host, holder.pid, holder.born, now)
        ask("INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?, ?, ?)", row)
        return "mine"

    def _finish(self, result: Finished | Failed, trial: Trial) -> None:
        write, now = self._connection.execute, time.time()
        head = (result.key, config_key(trial), trial.model_dump_json())
        if isinstance(result, Failed):
            write(
                "INSERT INTO failures VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "traceback = excluded.traceback, tries = tries + 1, last = excluded.last",
                (*head, result.traceback, code_version(), now),
            )
            return
        row = (*head, json.dumps(result.measures), result.seconds, code_version(), result.together, now)
        new = write("INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row).rowcount
        if new and result.arrays:
            write("INSERT INTO arrays VALUES (?, ?)", (result.key, to_npz(result.arrays)))
        write("DELETE FROM failures WHERE key = ?", (result.key,))

    def _found(self, trials: Iterable[Trial], reuse: Sequence[str]) -> dict[str, str]:
        """Of each trial that has an answer: its key now -> the key of the answer."""
        found = {}
        with reported(self.path):
            have = {key for (key,) in self._connection.execute("SELECT key FROM trials")}
        for trial in trials:
            now = trial_key(trial)
            key = next((k for k in (now, *(trial_key(trial, code) for code in reuse)) if k in have), None)
            if key is not None:
                found[now] = key
        return found

    def _row(self, key: str) -> tuple[str, str, str, float, str]:
        query = "SELECT key, config, measures, seconds, code FROM trials WHERE key = ?"
        with reported(self.path):
            row: sqlite3.Row | None = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            raise UsageError(f"no finished trial {key!r} in {self.path}: give a key of one of its rows")
        return row[0], row[1], row[2], row[3], row[4]


def _numbers(measures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in measures.items() if math.isfinite(value)}

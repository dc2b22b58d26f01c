"""The SQLite file of a study: made, opened and checked. What is written in it: `store`."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from brittle.errors import BrittleError, DataError, UsageError

# In the file's header: whose file it is ("brit"), and which tables it has.
_APPLICATION: Final = 0x62726974
SCHEMA: Final = 1
# How long a transaction waits for those of other processes, seconds; each takes milliseconds.
_PATIENCE: Final = 60.0

# trials: answers. arrays: npz files. failures: trials that raised. running: who is at work on what (`lease`).
_TABLES: Final = (
    """CREATE TABLE trials (key TEXT PRIMARY KEY, config_key TEXT NOT NULL, config TEXT NOT NULL,
       measures TEXT NOT NULL, seconds REAL NOT NULL, code TEXT NOT NULL,
       together INTEGER NOT NULL, finished REAL NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX trials_by_config ON trials (config_key)",
    "CREATE TABLE arrays (key TEXT PRIMARY KEY REFERENCES trials (key), npz BLOB NOT NULL)",
    """CREATE TABLE failures (key TEXT PRIMARY KEY, config_key TEXT NOT NULL, config TEXT NOT NULL,
       traceback TEXT NOT NULL, tries INTEGER NOT NULL, code TEXT NOT NULL, last REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE running (key TEXT PRIMARY KEY, owner TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
       born TEXT NOT NULL, seen REAL NOT NULL) WITHOUT ROWID""",
)


def connect(path: Path, create: bool) -> sqlite3.Connection:
    """A connection to the study file, in autocommit mode, its tables there and its pages sound.

    Args:
        path: the file.
        create: make it where there is none; else that is an error.

    Raises:
        UsageError: no such file and `create` is false, or no folder to make it in.
        DataError: a file of something else, of a newer brittle, or a damaged one.
    """
    _check_place(path, create)
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        with reported(path):
            _check_ours(connection, path)
            _write_ahead(connection)
            with transaction(connection):  # of several first openers one makes the tables
                if not _tables(connection):
                    for table in _TABLES:
                        connection.execute(table)
                    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                    connection.execute(f"PRAGMA user_version = {SCHEMA}")
            # Answers survive the death of any process; of a power failure the last ones may have to be run again.
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection
    except BaseException:
        if connection is not None:
            connection.close()
        raise


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the lock for writing is taken at the start, so that what is read inside stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """SQLite's errors as one line.

    Raises:
        DataError: whatever SQLite raised inside.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _refusal(path, error) from error


def _check_place(path: Path, create: bool) -> None:
    if not path.exists():  # another process may make it any moment now
        if not create:
            raise UsageError(f"no such study file: {path}; `brittle study run` makes one")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise UsageError(f"cannot make {path}: {path.parent} is no writable folder; choose another place")
    elif not path.is_file():
        raise UsageError(f"{path} is no file: give the file that holds the study's trials")
    elif not os.access(path, os.W_OK):
        raise UsageError(f"cannot write to {path}: make it writable, or copy it to a folder of your own")


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Nothing is changed in a file that is not ours."""
    tables, application = _tables(connection), connection.execute("PRAGMA application_id").fetchone()[0]
    if not tables:
        return
    if application != _APPLICATION:
        raise DataError(f"{path} is a database of something else, not of a brittle study: choose another file")
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if schema != SCHEMA:
        raise DataError(
            f"{path} has version {schema} of the study tables, this brittle reads version {SCHEMA}: "
            "use the brittle that wrote it, or choose another file"
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise DataError(f"{path} is damaged ({' '.join(str(found).split())}): restore a copy, or choose another file")


def _tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Readers then never wait for writers. Switching does not wait for others by itself, so ask again."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _refusal(path: Path, error: sqlite3.DatabaseError) -> BrittleError:
    said = str(error)
    if "not a database" in said:
        return DataError(f"{path} is no SQLite file: choose another file for the study's trials")
    if "malformed" in said:
        return DataError(f"{path} is damaged ({said}): restore a copy, or choose another file")
    if "locked" in said:
        return DataError(f"{path} stayed locked for {_PATIENCE:g} s: end the program that holds it, and run again")
    return DataError(f"cannot use {path} ({said}): free some space or choose another place, and run again")

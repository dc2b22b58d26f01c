"""Whatever is killed and whenever: the file ends as that of a run that nobody disturbed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brittle.studies.engine import run_trials
from brittle.studies.store import Store
from tests.studies.cheap import answer, cheap, logged, processes, quick, trials

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL and fork are POSIX")


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything but times."""
    queries = {
        "trials": "SELECT key, config_key, config, measures, code, together FROM trials ORDER BY key",
        "arrays": "SELECT key, npz FROM arrays ORDER BY key",
        "failures": "SELECT key, config, code, tries FROM failures ORDER BY key",
        "running": "SELECT key FROM running",
    }
    connection = sqlite3.connect(path)
    found = {name: connection.execute(query).fetchall() for name, query in queries.items()}
    connection.close()
    return found


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.studies.{program}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def test_fifty_kills_leave_no_trace(tmp_path: Path) -> None:
    count = 450
    program = start("killed_engine", tmp_path / "killed.sqlite", count, 0)
    told, _ = program.communicate(timeout=120)
    assert program.returncode == 0
    assert int(told) == 50
    asked = trials(count)
    with Store(tmp_path / "killed.sqlite") as store:
        before = len(store.rows(asked))
        assert 0 < before < count
        ran = run_trials(asked, store, quick)
    assert (ran.already, ran.missing) == (before, 1)
    with Store(tmp_path / "quiet.sqlite") as store:
        run_trials(asked, store, quick)
    killed, quiet = contents(tmp_path / "killed.sqlite"), contents(tmp_path / "quiet.sqlite")
    assert killed == quiet
    assert len(quiet["trials"]) == count - 1
    assert not quiet["running"]


def test_a_killed_engine_takes_its_workers_with_it_and_its_trials_are_taken_again(tmp_path: Path) -> None:
    engine = start("engine_process", tmp_path / "t.sqlite", tmp_path, "lasting", 4, 2)
    until = time.monotonic() + 60
    while len(logged(tmp_path)) < 2:
        assert time.monotonic() < until, "the workers did not start"
        time.sleep(0.05)
    workers = processes(tmp_path)
    assert len(workers) == 2
    assert len(contents(tmp_path / "t.sqlite")["running"]) == 2
    engine.send_signal(signal.SIGKILL)
    engine.wait()  # not for its output, whose other ends the workers hold
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in workers):
        assert time.monotonic() < until, "a worker outlived its engine"
        time.sleep(0.05)
    with Store(tmp_path / "t.sqlite") as store:
        assert run_trials(trials(4), store, cheap).finished == 4
        assert [row.measures for row in store.rows(trials(4))] == [answer(trial).measures for trial in trials(4)]
    assert not contents(tmp_path / "t.sqlite")["running"]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_two_engines_on_one_file_run_no_trial_twice(tmp_path: Path) -> None:
    engines = [start("engine_process", tmp_path / "t.sqlite", tmp_path, "slow", 60, 1) for _ in range(2)]
    assert [engine.wait(60) for engine in engines] == [0, 0]
    ran = logged(tmp_path)
    assert sorted(ran) == sorted(f"seed {seed}" for seed in range(60) if seed != 3)
    assert len(processes(tmp_path)) == 2, "one engine did everything: the test shows nothing"
    found = contents(tmp_path / "t.sqlite")
    assert len(found["trials"]) == 59
    assert [row[3] for row in found["failures"]] == [1]

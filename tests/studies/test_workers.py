from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brittle.errors import UsageError
from brittle.studies.engine import run_trials
from brittle.studies.jobs import Work
from brittle.studies.store import Store
from brittle.studies.workers import check_portable
from tests.studies import cheap
from tests.studies.cheap import processes, trials
from tests.studies.test_kill import contents


def test_two_workers_give_what_one_gives(tmp_path: Path) -> None:
    for workers in (1, 2):
        with Store(tmp_path / f"{workers}.sqlite") as db:
            memory = tmp_path / str(workers)
            ran = run_trials(trials(8), db, cheap.slow, workers=workers, memory=memory)
            assert (ran.finished, ran.failed) == (7, 1)
    assert contents(tmp_path / "1.sqlite") == contents(tmp_path / "2.sqlite")
    assert processes(tmp_path / "1") == {os.getpid()}
    assert os.getpid() not in processes(tmp_path / "2")


def test_a_worker_that_dies_fails_its_trial_and_is_replaced(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        ran = run_trials(trials(6), db, cheap.dies, workers=2)
        assert (ran.finished, ran.failed) == (5, 1)
        assert "the worker process died with exit code 7" in db.failures(trials(6))[0].traceback


def test_workers_have_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with Store(tmp_path / "t.sqlite") as db:
        run_trials(trials(2), db, cheap.environment, workers=2)
        assert [row.measures["threads"] for row in db.rows(trials(2))] == [1.0, 1.0]
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_functions_that_cannot_be_imported_are_refused_before_any_work(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as db:
        with pytest.raises(UsageError, match="other processes cannot import the trial function"):
            run_trials(trials(2), db, lambda trial, *, memory: cheap.answer(trial), workers=2)
        assert db.failures(trials(2)) == ()
    check_portable(Work(cheap.cheap))


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from brittle.studies.engine import run_trials\n"
        "from brittle.studies.store import Store\n"
        "from tests.studies.cheap import cheap, trials\n"
        f"run_trials(trials(2), Store({str(tmp_path / 't.sqlite')!r}), cheap, workers=2)\n"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert "UsageError: a worker process could not start (exit code 1)" in ran.stderr
    assert ran.returncode == 1

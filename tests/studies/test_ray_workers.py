from __future__ import annotations

import sys
from pathlib import Path

import pytest

from brittle.errors import UsageError
from brittle.studies import ray_workers
from brittle.studies.engine import run_trials
from brittle.studies.jobs import Job, Work
from brittle.studies.keys import code_version
from brittle.studies.store import Store
from tests.studies import cheap
from tests.studies.cheap import trials
from tests.studies.test_kill import contents


def test_without_ray_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with Store(tmp_path / "t.sqlite") as db, pytest.raises(UsageError, match=r'pip install "brittle\[ray\]"'):
        run_trials(trials(1), db, cheap.cheap, ray="local")


def test_a_node_with_other_code_is_refused() -> None:
    job = Job(trials(1), ("key",), frozenset({"key"}))
    assert not isinstance(ray_workers._perform(job, Work(cheap.cheap), code_version()), str)
    said = ray_workers._perform(job, Work(cheap.cheap), "other/torch-1")
    assert isinstance(said, str)
    assert f"code version {code_version()}, this machine other/torch-1: install one version" in said


class NoCluster:
    """A Ray that reaches nothing."""

    @staticmethod
    def init(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore words.")


def test_an_address_without_a_cluster_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"cannot reach a Ray cluster at '10\.0\.0\.1:6379'") as caught:
        ray_workers._start(NoCluster, "10.0.0.1:6379", None)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_local_ray_gives_what_one_process_gives(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an extra")
    for name, ray in (("ray", "local"), ("here", None)):
        with Store(tmp_path / f"{name}.sqlite") as db:
            ran = run_trials(trials(8), db, cheap.slow, workers=2 if ray else 1, ray=ray, memory=tmp_path / name)
            assert (ran.finished, ran.failed) == (7, 1)
    assert contents(tmp_path / "ray.sqlite") == contents(tmp_path / "here.sqlite")


@pytest.mark.slow
def test_a_task_that_dies_on_ray_fails_its_trial_alone(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an extra")
    with Store(tmp_path / "t.sqlite") as db:
        ran = run_trials(trials(3), db, cheap.dies, workers=1, ray="local")
        assert (ran.finished, ran.failed) == (2, 1)
        assert db.failures(trials(3))[0].traceback.startswith("on Ray: ")

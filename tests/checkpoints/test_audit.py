"""The whole structure audit: counts, workers, the time limit, kill and resume."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from brittle.checkpoints import workers
from brittle.checkpoints.audit import audit_checkpoint
from brittle.checkpoints.options import CheckpointOptions
from brittle.errors import ModelError, UsageError
from brittle.results.structure import StructureAudit
from tests.checkpoints.made import normal, write, write_shards

OPTIONS = CheckpointOptions(exact_side=30, steps=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = {
        f"{i}.safetensors": {
            f"layers.{i}.up.weight": normal(50, 20 + 3 * i, seed=i).bfloat16(),
            f"layers.{i}.attn.qkv.weight": normal(96, 32, seed=10 + i).half(),
            f"layers.{i}.norm.weight": torch.ones(20),
        }
        for i in range(4)
    }
    return write_shards(tmp_path_factory.mktemp("shards") / "net", shards)


def content(audit: StructureAudit) -> StructureAudit:
    """Without what may differ from run to run."""
    settings = replace(audit.settings, seconds=0.0, workers=1, memory_bound=0)
    return replace(audit, settings=settings)


@pytest.fixture(scope="module")
def whole(folder: Path) -> StructureAudit:
    return content(audit_checkpoint(folder, OPTIONS))


def test_record(folder: Path, whole: StructureAudit) -> None:
    info = whole.checkpoint
    assert (info.name, info.files, info.tensors) == ("net", 4, 12)
    measured = sum(row.parameters for row in whole.matrices)
    assert measured + sum(torch.Size(row.shape).numel() for row in whole.unmeasured) == info.parameters
    assert len(whole.matrices) == 16
    assert {row.spectral.method for row in whole.matrices} == {"all values", "random probes"}
    assert not whole.partial
    assert StructureAudit.from_dict(whole.to_dict()) == whole


def test_workers_change_nothing(folder: Path, whole: StructureAudit) -> None:
    assert content(audit_checkpoint(folder, replace(OPTIONS, workers=2))) == whole


def test_progress_counts_matrices(folder: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    audit_checkpoint(folder, OPTIONS, resume=tmp_path, progress=lambda *step: told.append(step))
    assert told == [("matrices", i, 16) for i in range(17)]
    told.clear()
    audit_checkpoint(folder, OPTIONS, resume=tmp_path, progress=lambda *step: told.append(step))
    assert told == [("matrices", 16, 16)]


def test_the_time_limit_leaves_the_rest_unmeasured(folder: Path, whole: StructureAudit, tmp_path: Path) -> None:
    late = iter([0.0, 0.0, 1.0, 2.0, 1e9, *[1e9] * 50])

    def clock() -> float:
        return next(late)

    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(workers, "monotonic", clock)
        patch.setattr("brittle.checkpoints.audit.monotonic", lambda: 0.0)
        part = audit_checkpoint(folder, replace(OPTIONS, time_limit=10.0), resume=tmp_path)
    assert part.partial
    assert part.matrices == whole.matrices[:4]
    left = [row.name for row in part.unmeasured if row.why == "the time limit came before its turn"]
    assert sorted(left) == sorted(row.name for row in whole.matrices[4:])
    assert content(audit_checkpoint(folder, OPTIONS, resume=tmp_path)) == whole


def test_against_a_base(folder: Path, whole: StructureAudit) -> None:
    found = audit_checkpoint(folder, OPTIONS, against=folder)
    assert found.matrices == whole.matrices
    assert found.comparison is not None
    assert [change.log_scale for change in found.comparison.changes] == [0.0] * 16


def test_nothing_to_measure(tmp_path: Path) -> None:
    place = write(tmp_path / "a.safetensors", {"bias": torch.zeros(3)})
    with pytest.raises(ModelError, match="holds no weight matrix that can be read: expected tensors of 2 dimensions"):
        audit_checkpoint(place)


_KILLED = """
import sys
from brittle.checkpoints.audit import audit_checkpoint
from brittle.checkpoints.options import CheckpointOptions
def main():
    options = CheckpointOptions(exact_side=30, steps=12, workers=int(sys.argv[3]))
    audit_checkpoint(sys.argv[1], options, resume=sys.argv[2])
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("n", [1, 2])
def test_killed_and_resumed(n: int, folder: Path, whole: StructureAudit, tmp_path: Path) -> None:
    kept, script = tmp_path / "kept", tmp_path / "run.py"
    script.write_text(_KILLED)
    process = subprocess.Popen([sys.executable, str(script), str(folder), str(kept), str(n)])
    while process.poll() is None and not list(kept.glob("matrix-*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {place.name: place.stat().st_mtime_ns for place in kept.glob("matrix-*.json")}
    assert before
    assert content(audit_checkpoint(folder, OPTIONS, resume=kept)) == whole
    after = {place.name: place.stat().st_mtime_ns for place in kept.glob("matrix-*.json")}
    assert after.items() >= before.items()


def _die(matrix: object, options: object) -> None:
    import os

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "measure_matrix", _die)
    with pytest.raises(
        UsageError, match="a worker process was killed, most likely for want of memory: use fewer workers"
    ):
        audit_checkpoint(folder, replace(OPTIONS, workers=2))

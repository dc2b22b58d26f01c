"""The bound on memory: held by a real process, and checked before the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from brittle.checkpoints import memory
from brittle.checkpoints.memory import PROCESS, check_memory, free_memory, memory_bound, working_set
from brittle.checkpoints.options import CheckpointOptions
from brittle.errors import UsageError
from tests.checkpoints.made import normal, only, planned, write

_PEAK = """
import sys
from brittle.checkpoints.audit import audit_checkpoint
from brittle.checkpoints.options import CheckpointOptions
def resident(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
for side in (0, 4096):
    audit_checkpoint(sys.argv[1], CheckpointOptions(exact_side=side))
before = resident("VmRSS")
for side in (0, 4096):
    audit = audit_checkpoint(sys.argv[2], CheckpointOptions(exact_side=side, probes=4, steps=8))
    print(resident("VmHWM"), before, audit.settings.memory_bound)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_process_stays_below_the_bound(tmp_path: Path) -> None:
    """The matrix is 48 MB in its file and 192 MB in float64; estimated it never lies in memory whole."""
    small = write(tmp_path / "small.safetensors", {"a.weight": normal(600, 100, seed=0).bfloat16()})
    large = write(tmp_path / "large.safetensors", {"a.weight": normal(60_000, 400, seed=0).bfloat16()})
    run = subprocess.run([sys.executable, "-c", _PEAK, small, large], check=True, capture_output=True, text=True)
    estimated, exact = (tuple(map(int, line.split())) for line in run.stdout.splitlines())
    for peak, before, bound in (estimated, exact):
        assert before < PROCESS
        assert peak - before < bound - PROCESS
    assert estimated[2] - PROCESS < 48e6 + 30e6


def test_the_bound_grows_with_the_largest_matrix_and_the_workers(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"a.weight": normal(30, 20, seed=0), "b.weight": normal(300, 200, seed=1)})
    small, large = (working_set(matrix, CheckpointOptions()) for matrix in plan.matrices)
    assert small < large
    one, three = (memory_bound(plan.matrices, CheckpointOptions(workers=n)) for n in (1, 3))
    assert one == large + PROCESS
    assert three == 3 * large + 4 * PROCESS
    assert memory_bound((), CheckpointOptions()) == PROCESS


def test_the_pages_of_a_slice_are_its_own(tmp_path: Path) -> None:
    experts = planned(tmp_path, {"experts.w": normal(8, 50, 40, seed=0)}).matrices
    alone = only(tmp_path, {"a.weight": normal(50, 40, seed=0)})
    assert {working_set(one, CheckpointOptions()) for one in experts} == {working_set(alone, CheckpointOptions())}


def test_too_little_memory_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = planned(tmp_path, {"a.weight": normal(30, 20, seed=0)}).matrices
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    assert check_memory(matrices, CheckpointOptions()) < 10**9
    with pytest.raises(
        UsageError, match=r"a of shape \(30, 20\) with 4 workers needs .* GiB are free: use fewer workers"
    ):
        check_memory(matrices, CheckpointOptions(workers=4))
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    with pytest.raises(UsageError, match="use a lower effort, or a machine with more memory"):
        check_memory(matrices, CheckpointOptions())
    monkeypatch.setattr(memory, "free_memory", lambda: None)  # the system does not say
    check_memory(matrices, CheckpointOptions(workers=4))


def test_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal: 9 kB\nMemAvailable: 7 kB\n")
    assert memory._available(table) == 7 * 1024
    assert memory._available(tmp_path / "no") is None
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert memory._left_in_container(tmp_path) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_container(tmp_path) is None
    monkeypatch.setattr(memory, "_available", lambda: 40)
    monkeypatch.setattr(memory, "_left_in_container", lambda: 30)
    assert free_memory() == 30
    monkeypatch.setattr(memory, "_left_in_container", lambda: None)
    assert free_memory() == 40

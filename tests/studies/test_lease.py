from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from brittle.studies import lease
from brittle.studies.lease import SILENCE, new_holder


def test_this_process_lives_however_long_it_was_silent() -> None:
    me = new_holder(0.0)
    assert me.pid == os.getpid()
    assert me.lives(1e9)
    assert me.owner != new_holder(0.0).owner


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="zombies are seen through /proc")
def test_a_dead_process_that_nobody_has_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    until = time.monotonic() + 30
    while lease._born(child.pid) != "dead":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not replace(new_holder(0.0), pid=child.pid).lives(0.0)
    child.wait()
    assert not replace(new_holder(0.0), pid=child.pid).lives(0.0)


def test_where_processes_cannot_be_seen_silence_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    far = replace(new_holder(100.0), host="another")
    assert far.lives(100.0 + SILENCE - 1)
    assert not far.lives(100.0 + SILENCE + 1)
    near = new_holder(100.0)
    monkeypatch.setattr(lease, "_CAN_ASK", False)
    assert not near.lives(100.0 + SILENCE + 1)


def test_processes_of_others_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    me = new_holder(0.0)
    monkeypatch.setattr(lease.os, "kill", refuse)
    assert me.lives(1e9)

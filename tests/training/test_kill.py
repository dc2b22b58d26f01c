"""A run that is killed again and again ends with the same bits as one that is left alone."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.killed_run import STEPS, run

KILLS = 5
PATIENCE = 300.0


def test_five_kills_change_no_bit(tmp_path: Path) -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork processes")
    context = multiprocessing.get_context("forkserver")
    # What takes long to import is imported once, before the processes are forked.
    context.set_forkserver_preload(
        ["torch._dynamo", "sklearn.datasets", "brittle.training.engine", "tests.training.killed_run"]
    )
    step = context.Value("l", 0)

    def started(folder: Path | None, out: Path, limit: int = STEPS + 1) -> BaseProcess:
        step.value = 0
        process = context.Process(target=run, args=(folder, out, step, limit))
        process.start()
        return process

    whole, pieces, folder = tmp_path / "whole", tmp_path / "pieces", tmp_path / "states"
    alone = started(None, whole)
    alone.join(PATIENCE)
    assert alone.exitcode == 0
    assert step.value == STEPS

    luck = random.Random()  # other moments in every run of the test
    moments = sorted(luck.sample(range(2, STEPS), KILLS))
    for moment in moments:
        process = started(folder, pieces, moment + 2)
        deadline = time.monotonic() + PATIENCE
        while step.value < moment and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(luck.uniform(0, 0.004))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"it ended by itself before step {moment}"
        assert not pieces.exists()
    last = started(folder, pieces)
    while last.is_alive() and step.value == 0:
        time.sleep(0.0005)
    resumed_at = step.value
    last.join(PATIENCE)
    assert last.exitcode == 0
    assert resumed_at > moments[0], "it began at the beginning instead of going on"

    expected, found = load_file(whole), load_file(pieces)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), f"{name} differs after kills at steps {moments}"

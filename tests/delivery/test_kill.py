"""A compression that is killed at any moment leaves no broken file, and the same call goes on to the same networks."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from brittle.models.file import load, save
from tests.delivery.killed_compression import compress
from tests.small_nets import trained

KILLS = 3
PATIENCE = 300.0


def test_kills_leave_no_broken_file_and_change_no_weight(tmp_path: Path) -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork processes")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch._dynamo", "sklearn.datasets", "brittle.delivery.door", "tests.delivery.killed_compression"]
    )
    told = context.Value("l", 0)
    whole, pieces, state = tmp_path / "whole", tmp_path / "pieces", tmp_path / "state"
    for folder in (whole, pieces):
        folder.mkdir()
        save(trained(), folder / "base.safetensors")

    def started(folder: Path, kept: Path | None) -> BaseProcess:
        told.value = 0
        process = context.Process(target=compress, args=(folder, kept, told))
        process.start()
        return process

    alone = started(whole, None)
    alone.join(PATIENCE)
    assert alone.exitcode == 0
    all_told = told.value

    luck = random.Random()  # other moments in every run of the test
    killed = 0
    for share in sorted(luck.uniform(0.05, 0.9) for _ in range(KILLS)):
        process = started(pieces, state)
        deadline = time.monotonic() + PATIENCE
        while told.value < share * all_told / KILLS and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.0005)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        for file in pieces.glob("*.safetensors"):  # whatever is there is whole
            load(file)
    assert killed > 0
    last = started(pieces, state)
    last.join(PATIENCE)
    assert last.exitcode == 0
    assert told.value < all_told, "it began at the beginning instead of going on"
    names = {"base.safetensors", "child.safetensors", "child-0.5.safetensors"}
    assert {path.name for path in pieces.iterdir() if not path.name.endswith(".part")} == names
    for name in names:
        expected, found = load(whole / name).state_dict(), load(pieces / name).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name

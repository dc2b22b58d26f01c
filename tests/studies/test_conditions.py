from __future__ import annotations

import os
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from brittle.studies import conditions
from brittle.studies.conditions import ONE_THREAD, alone, one_thread_in_new_processes


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_global_generators_start_the_same_and_are_put_back() -> None:
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = [draw(), draw()]
    inside = []
    for i in range(2):
        random.seed(i), np.random.seed(i), torch.manual_seed(i)
        with alone():
            inside.append(draw())
    assert inside[0] == inside[1] != expected[0]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    first = draw()
    with alone():
        draw()
    assert [first, draw()] == expected


def stop_alone() -> None:
    with alone():
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        raise RuntimeError("stop")


def test_all_arithmetic_has_one_thread_and_gets_its_own_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError, match="stop"):
            stop_alone()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_torch_has_one_thread_whatever_library_its_threads_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "threadpool_limits", lambda count: nullcontext())
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with alone():
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_new_processes_find_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with one_thread_in_new_processes():
        assert {name: os.environ[name] for name in ONE_THREAD} == ONE_THREAD
    assert os.environ["OMP_NUM_THREADS"] == "4"
    assert "MKL_NUM_THREADS" not in os.environ

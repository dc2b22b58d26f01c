"""Attacks that were killed go on, to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from time import monotonic

import pytest
import torch
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.cascade import Cascade
from brittle.attacks.pgd import PGD
from brittle.evaluation.accuracy import attack_survivors
from brittle.evaluation.checkpoint import Memory
from brittle.threats import ball

ATTACKS = (PGD(1), APGD(3), Cascade(3, 3))
BATCH = 8

# The same run as `run(...)` below, which calls an attack CALLS times and then hangs until it is killed, or, for CALLS
# below zero, goes on slowly. It keeps a state after every batch.
SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
import test_resume as here
from brittle.evaluation import accuracy, checkpoint

checkpoint._SECONDS = checkpoint._TIMES = 0.0
calls, told = {calls}, []

def tell(stage, done, total):
    told.append(stage)
    print(stage, done, flush=True)
    time.sleep(600 if len(told) == calls + 1 else 0.02)

here.run(sys.argv[1], progress=tell)
"""


def case():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 5)).requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    model[0].bias.copy_(-model[0].weight.sum(1) / 2)  # or the middle of the box decides all predictions
    x = torch.rand(40, 12, generator=generator)
    return model, x, model(x).argmax(1)


def run(folder, *, fingerprint="net", attacks=ATTACKS, batch_size=BATCH, seed=3, epsilon=0.04, **others):
    torch.set_num_threads(1)
    model, x, y = case()
    memory = None if folder is None else Memory(Path(folder), fingerprint)
    return attack_survivors(
        model, x, y, ball("linf", epsilon), attacks, batch_size=batch_size, seed=seed, memory=memory, **others
    )


def same(first, second):
    return (
        first.steps == second.steps
        and first.complete == second.complete
        and all(
            getattr(first, name).numpy().tobytes() == getattr(second, name).numpy().tobytes()
            for name in ("right", "survived", "x_adv", "loss")
        )
    )


@pytest.fixture(scope="module")
def whole():
    result = run(None)
    assert 0.2 < result.accuracy < result.steps[0].accuracy < 1
    return result


def started(folder, calls):
    script = SCRIPT.format(here=str(Path(__file__).parent), calls=calls)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("calls", [1, 7])
def test_a_killed_run_goes_on_after_the_last_kept_batch_to_the_same_bits(tmp_path, whole, calls):
    process = started(tmp_path, calls)
    try:
        for _ in range(calls + 1):  # the state of a batch is kept after its progress was told
            assert process.stdout.readline(), process.stderr.read()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
    told = []
    again = run(tmp_path, progress=lambda *what: told.append(what))
    assert same(again, whole)
    every = []
    run(None, progress=lambda *what: every.append(what))
    assert told == every[calls:]


def test_killed_at_moments_of_chance_it_ends_at_the_same_bits(tmp_path, whole):
    process = started(tmp_path, -1)
    assert process.stdout.readline(), process.stderr.read()
    time.sleep(0.137)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    assert same(run(tmp_path), whole)


def test_a_finished_run_answers_without_attacking(tmp_path, whole):
    assert same(run(tmp_path), whole)
    told = []
    assert same(run(tmp_path, progress=lambda *what: told.append(what)), whole)
    assert told == []


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "other net"},
        {"seed": 4},
        {"batch_size": 9},
        {"epsilon": 0.02},
        {"attacks": ATTACKS[:2]},
        {"indices": torch.arange(40) + 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_that_differs_is_measured_on_its_own(tmp_path, change):
    run(tmp_path)
    told = []
    kept = run(tmp_path, **change, progress=lambda *what: told.append(what))
    assert told[0][0] == ATTACKS[0].name
    assert same(kept, run(None, **change))


def test_a_damaged_state_is_measured_again(tmp_path, whole):
    run(tmp_path)
    (place,) = tmp_path.iterdir()
    content = bytearray(place.read_bytes())
    content[-40] ^= 1
    place.write_bytes(content)
    told = []
    assert same(run(tmp_path, progress=lambda *what: told.append(what)), whole)
    assert told


def test_what_a_deadline_stopped_goes_on_later(tmp_path, whole):
    told = []

    class Clock(float):
        """A deadline that passes after three batches."""

        def __le__(self, now):
            return len(told) >= 3

    stopped = run(tmp_path, deadline=Clock(1e300), progress=lambda *what: told.append(what))
    assert [step.attack for step in stopped.steps] == [f"{ATTACKS[0].name} (stopped)"]
    again = run(tmp_path)
    assert again.complete
    assert same(again, whole)
    assert not run(None, deadline=monotonic()).complete

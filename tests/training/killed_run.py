"""The run that `test_kill.py` starts in processes of its own and kills: everything that has a state is active."""

from __future__ import annotations

import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from brittle.training import added
from brittle.training.engine import train
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted
from tests.training.toys import TOYS, Counting, digits

STEPS = 50


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64, 10),
        )


def run(folder: Path | None, out: Path, step: Synchronized, limit: int) -> None:  # type: ignore[type-arg]
    """Train with a state after every step, tell `step` how far it is, and write the weights at the end.

    It waits for its end in step `limit`, so that a slow killer comes in time.
    """
    torch.set_num_threads(1)
    added._penalty = TOYS.__getitem__

    def told(number: int) -> None:
        step.value = number
        while number >= limit:
            time.sleep(0.01)

    dynamics = Dynamics(
        epochs=10,
        batch_size=32,
        optimiser="momentum",
        learning_rate=0.02,
        schedule="one-cycle",
        label_noise=0.1,
        gradient_noise=HeavyTails(1.8, 1e-3),
        clip=5.0,
    )
    plan = Plan(dynamics, Counting(told), (Weighted("ridge", 1e-3),), hold_scale=True)
    trained = train(net(), *digits(160), plan, seed=3, checkpoints=folder, every=0.0)
    rows = torch.tensor([[row.loss, row.validation_loss, row.penalties["ridge"]] for row in trained.history.rows])
    save_file({**trained.model.state_dict(), "rows": rows}, out)

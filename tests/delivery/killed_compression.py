"""The compression that `test_kill.py` starts in processes of its own and kills."""

from __future__ import annotations

from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch

import brittle
from brittle.delivery import making
from brittle.models.file import load

STAGES = ("recovery", "pgd", "apgd")


def compress(folder: Path, state: Path | None, told: Synchronized) -> None:  # type: ignore[type-arg]
    """Compress `folder/base.safetensors` with a state after every step; `told` counts what the progress was told."""
    torch.set_num_threads(1)
    making._EVERY = making._LEAST_OFTEN = 0.0  # type: ignore[misc]

    def tell(stage: str, done: int, total: int) -> None:
        told.value += 1

    brittle.compress(
        load(folder / "base.safetensors"), 0.25, "digits", method="magnitude", epsilon=0.05, finetune=8.0, samples=60,
        evidence=60, sweep=(0.5,), out=folder / "child.safetensors", resume=state, progress=tell,
    )  # fmt: skip

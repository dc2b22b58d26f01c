"""Equal content is found, and near-equal content is not taken for it."""

from __future__ import annotations

from pathlib import Path

import torch

from brittle.checkpoints.duplicates import fingerprint, same_content
from brittle.checkpoints.files import find_checkpoint
from tests.checkpoints.made import normal, write


def test_groups(tmp_path: Path) -> None:
    big = normal(600, 500, seed=0)  # 1.2 MB: the samples miss most of it
    unseen = big.clone()
    unseen[7, 0] = 5.0
    tensors = {
        "a": big,
        "b": unseen,
        "c": big,
        "d": unseen,
        "e": big.bfloat16(),
        "z": torch.zeros(2, 3),
        "y": torch.zeros(3, 2),
    }
    stored = find_checkpoint(write(tmp_path / "m.safetensors", tensors)).tensors
    assert fingerprint(stored["a"]) == fingerprint(stored["b"])
    assert fingerprint(stored["a"]) != fingerprint(stored["e"])
    assert sorted(same_content([stored[name] for name in "abcdezy"])) == [("a", "c"), ("b", "d")]

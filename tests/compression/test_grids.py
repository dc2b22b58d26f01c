"""Which dense layers read a flattened map, and how many positions each channel has there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.compression.grids import positions_before


class _Views(nn.Module):
    """Flattens in several ways, then reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.a, self.b, self.c, self.pooled, self.mixed = (nn.Linear(n, 2) for n in (48, 48, 48, 3, 48))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.relu(self.conv(x))
        last = torch.channels_last
        answers = [self.a(z.view(len(z), -1)), self.b(z.contiguous(memory_format=last).reshape(len(z), -1))]
        answers.append(self.c(torch.flatten(z, 1)))
        answers.append(self.pooled(z.mean((2, 3)).flatten(1)))
        answers.append(self.mixed(torch.relu(z.flatten(1))))  # channels and positions cannot be told after this one
        return sum(answers)


def test_every_way_to_flatten_is_seen() -> None:
    model = _Views().train()
    names = ["a", "b", "c", "pooled", "mixed"]
    assert positions_before(model, names, torch.rand(1, 1, 6, 6)) == {"a": 16, "b": 16, "c": 16}
    assert model.training
    assert not model.a._forward_pre_hooks


def test_dropout_between_is_an_identity() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    assert positions_before(model, ["3", "5"], torch.rand(2, 1, 4, 4)) == {"3": 4}


def test_a_flattened_sequence_has_positions_too() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(15, 4))
    assert positions_before(model, ["2"], torch.rand(2, 2, 7)) == {"2": 5}

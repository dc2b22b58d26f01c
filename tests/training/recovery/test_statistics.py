"""Batch norm after a compression: statistics against the moments of what the layer receives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.training.recovery.statistics import recalibrate


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(108, 4), nn.BatchNorm1d(4)
    )


def test_the_statistics_are_those_of_the_samples() -> None:
    model, x = net().eval(), torch.rand(64, 1, 8, 8)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model[1].running_mean.fill_(7)
    assert recalibrate(model, x, 64) == 2
    received = model[0](x).detach()
    torch.testing.assert_close(model[1].running_mean, received.mean((0, 2, 3)))
    torch.testing.assert_close(model[1].running_var, received.var((0, 2, 3)))
    # Of the second norm: what passes the first one on its way, which takes the batch's own statistics.
    passed = model[4](model[3](nn.functional.batch_norm(received, None, None, model[1].weight, model[1].bias, True)))
    torch.testing.assert_close(model[5].running_mean, passed.mean(0).detach(), rtol=1e-4, atol=1e-5)
    assert (model[1].momentum, model[1].training, model[2].training) == (0.1, False, False)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_batches_count_alike_and_a_lonely_sample_not_at_all() -> None:
    model, x = net().train(), torch.rand(9, 1, 8, 8)
    recalibrate(model, x, 4)
    means = torch.stack([model[0](part).detach().mean((0, 2, 3)) for part in (x[:4], x[4:8])])
    torch.testing.assert_close(model[1].running_mean, means.mean(0))
    assert model[1].training


def test_nothing_to_measure_changes_nothing() -> None:
    assert recalibrate(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), torch.rand(4, 1, 8, 8), 2) == 0
    model = net()
    assert recalibrate(model, torch.rand(1, 1, 8, 8), 4) == 0
    assert float(model[1].running_mean.abs().max()) == 0
    without = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False))
    assert recalibrate(without, torch.rand(4, 1, 8, 8), 4) == 0


def test_they_come_back_after_an_error() -> None:
    class BrokenError(Exception):
        pass

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise BrokenError

    model = nn.Sequential(nn.BatchNorm2d(1), Broken()).eval()
    with pytest.raises(BrokenError):
        recalibrate(model, torch.rand(4, 1, 8, 8), 4)
    assert (model[0].momentum, model[0].training) == (0.1, False)

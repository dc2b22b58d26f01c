"""Scores of the adversarial loss, where the worst input is known."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from brittle.compression.couplings.find import couplings
from brittle.compression.protocols import Evidence
from brittle.compression.scores.robust import robust
from brittle.compression.scores.taylor import first_order
from brittle.errors import DataError, UsageError
from brittle.threats import LinfBall
from tests.compression.coupled_nets import case


def test_a_network_without_activations_is_attacked_at_a_corner() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Identity(), nn.Linear(4, 2)).double()
    found = couplings(model, torch.rand(2, 1, 2, 3))
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(40, 1, 2, 3, dtype=torch.float64, generator=generator)
    y = torch.arange(40) % 2
    # Two classes: the loss grows along the other class's logit minus the label's, a linear function of the pixels.
    slope = (model[3].weight @ model[1].weight).detach()
    towards = (slope[1 - y] - slope[y]).view_as(x).sign()
    worst = (x + 0.1 * towards).clamp(0, 1)
    scores = robust(model, found, Evidence(x, y, LinfBall(0.1), 3))
    wanted = first_order(model, found, worst, y)
    assert torch.allclose(scores["1"], wanted["1"], rtol=1e-6)
    assert not torch.allclose(scores["1"], first_order(model, found, x, y)["1"], rtol=0.01)


def test_the_seed_decides_and_the_model_is_left_as_it_was() -> None:
    net = case("cnn")
    model = copy.deepcopy(net.model).train()
    given = Evidence(net.pixels(6), torch.arange(6) % 5, LinfBall(0.05), 1)
    first, again = (robust(model, net.couplings, given) for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(given.x, net.pixels(6))


def test_refusals() -> None:
    net = case("cnn")
    with pytest.raises(UsageError, match="robust scores need a threat to defend against: give a norm and a radius"):
        robust(net.model, net.couplings, Evidence(net.pixels(2), torch.zeros(2, dtype=torch.int64), None, 0))
    with pytest.raises(DataError):
        robust(
            net.model, net.couplings, Evidence(net.pixels(2) + 2, torch.zeros(2, dtype=torch.int64), LinfBall(0.1), 0)
        )

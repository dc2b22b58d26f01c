"""First-order scores against finite differences of the loss."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.protocols import Evidence
from brittle.compression.scores.taylor import first_order, taylor
from brittle.errors import DataError, ModelError
from tests.compression.coupled_nets import Case, case

NETS = ["mlp", "cnn", "resnet, projected", "groups", "vit", "cnn, low rank", "torchvision vit"]


def evidence(net: Case, count: int) -> Evidence:
    return Evidence(net.pixels(count, seed=5), torch.arange(count) % 4, None, 0)


def loss_with_factor(model: nn.Module, coupling: Coupling, unit: int, factor: float, x: Tensor, y: Tensor) -> float:
    """The mean loss where everybody who reads the unit reads `factor` times it."""
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for member in coupling.members:
            if member.side == "in":
                weight = scaled.get_submodule(member.module).weight
                for position in member.index[unit]:
                    weight[:, position] *= factor
        return float(functional.cross_entropy(scaled(x), y))


@pytest.mark.parametrize("name", NETS)
def test_the_score_is_the_slope_of_the_loss_by_a_factor_on_the_unit(name: str) -> None:
    net = case(name)
    given = evidence(net, 10)
    scores = taylor(net.model, net.couplings, given)
    step = 1e-4
    for coupling in net.couplings:
        for unit in {0, coupling.units - 1}:
            up, down = (
                loss_with_factor(net.model, coupling, unit, 1 + sign * step, given.x, given.y) for sign in (1, -1)
            )
            slope = abs(up - down) / (2 * step)
            assert float(scores[coupling.name][unit]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_magnitudes_are_averaged_over_groups_of_samples() -> None:
    net = case("mlp")
    given = evidence(net, 36)
    whole = taylor(net.model, net.couplings, given)["fc1"]
    parts = [
        first_order(net.model, net.couplings, given.x[rows], given.y[rows])["fc1"] * len(rows) / len(given.x)
        for rows in torch.arange(36).split(16)
    ]
    assert torch.allclose(whole, torch.stack(parts).sum(0), rtol=1e-12)
    together = first_order(net.model, net.couplings, given.x[:16], given.y[:16])["fc1"]
    assert not torch.allclose(whole, together)


def test_the_model_is_left_as_it_was() -> None:
    net = case("resnet, projected")
    model = copy.deepcopy(net.model).train()
    model.conv1.weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    taylor(model, net.couplings, evidence(net, 5))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())


def test_nothing_to_score() -> None:
    net = case("mlp")
    assert taylor(net.model, (), evidence(net, 2)) == {}


def test_refusals() -> None:
    net = case("mlp")
    given = evidence(net, 3)
    with pytest.raises(DataError, match="expected labels from 0 to 4 for a model of 5 classes"):
        first_order(net.model, net.couplings, given.x, torch.tensor([0, 1, 7]))
    with pytest.raises(ModelError, match="expected finite logits"):
        first_order(net.model, net.couplings, given.x * torch.nan, given.y)

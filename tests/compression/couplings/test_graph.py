"""What the dependency graph alone suggests, before the check."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.couplings import graph
from brittle.compression.couplings.graph import graph_couplings
from tests.compression.coupled_nets import Wired, case, conv
from tests.compression.foreign_nets import foreign


@pytest.mark.parametrize("name", ["cnn", "resnet, projected", "concat", "groups", "gated"])
def test_what_it_suggests_is_right_already(name: str) -> None:
    net = case(name)
    suggested = graph_couplings(copy.deepcopy(net.model), net.pixels(2))
    assert tuple(suggested) == net.couplings


def test_suggestions_share_no_position() -> None:
    for name in ("resnet, padded", "torchvision mobilenet_v2", "vit"):
        net = case(name)
        places = [
            (member.module, member.side, position)
            for coupling in graph_couplings(copy.deepcopy(net.model), net.pixels(2))
            for member in coupling.members
            for unit in member.index
            for position in unit
        ]
        assert len(places) == len(set(places))


def test_following_ends_even_where_maps_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_MOST", 12)
    net = case("mlp")  # fc1 alone has 12 neurons
    suggested = graph_couplings(copy.deepcopy(net.model), net.pixels(2))
    assert [coupling.name for coupling in suggested] == []


def test_a_network_without_gradients_has_no_graph() -> None:
    def forward(n: nn.ModuleDict, x: Tensor) -> Tensor:
        with torch.no_grad():
            return n["head"](n["a"](x).relu().mean((2, 3)))

    assert graph_couplings(Wired(forward, a=conv(3, 4), head=nn.Linear(4, 2)), torch.rand(2, 3, 4, 4)) == []


def test_a_network_that_the_package_stumbles_over_has_no_graph() -> None:
    # It divides by a number of channels that it cannot tell.
    model = foreign("torchvision", "shufflenet_v2_x0_5", num_classes=5)
    assert graph_couplings(model, torch.rand(2, 3, 32, 32)) == []


def test_nothing_without_a_second_unit() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 3))
    assert graph_couplings(model, torch.rand(2, 1, 2, 2)) == []

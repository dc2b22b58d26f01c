"""Norms of units against loops over single weights."""

from __future__ import annotations

import math

import pytest
import torch

from brittle.compression.plan import CompressionPlan
from brittle.compression.prune import prune_neurons
from brittle.compression.scores.coupled import coupled
from brittle.compression.scores.magnitude import l1, l2, unit_weights
from brittle.compression.widths import kept_units
from brittle.models.recipe import Recipe, build
from tests.compression.coupled_nets import case

NETS = ["cnn", "resnet, projected", "vit", "vit, low rank", "groups", "torchvision vit", "timm vit_tiny"]


def entries(name: str, coupling: int, unit: int, side: str) -> list[float]:
    """Every weight of one unit, from the modules themselves."""
    net = case(name)
    found: list[float] = []
    for member in net.couplings[coupling].members:
        module = net.model.get_submodule(member.module)
        weight = module.in_proj_weight if hasattr(module, "in_proj_weight") else module.weight
        if member.side != side or weight.dim() == 1:
            continue
        for position in member.index[unit]:
            row = weight[position] if side == "out" else weight[:, position]
            found += row.detach().flatten().tolist()
    return found


@pytest.mark.parametrize("name", NETS)
def test_norms_of_all_weights_of_a_unit(name: str) -> None:
    net = case(name)
    sums, norms, both = (score(net.model, net.couplings, None) for score in (l1, l2, coupled))
    for i, coupling in enumerate(net.couplings):
        for scores in (sums, norms, both):
            assert scores[coupling.name].shape == (coupling.units,)
            assert scores[coupling.name].dtype == torch.float64
        for unit in {0, coupling.units - 1}:
            made, read = (entries(name, i, unit, side) for side in ("out", "in"))
            wide = math.hypot(*made)
            assert float(sums[coupling.name][unit]) == pytest.approx(math.fsum(map(abs, made)))
            assert float(norms[coupling.name][unit]) == pytest.approx(wide)
            assert float(both[coupling.name][unit]) == pytest.approx(wide * math.hypot(*read))


def test_all_weights_of_a_unit_are_taken() -> None:
    net = case("resnet, projected")
    # conv1 has 3 x 9 weights for a channel, layer1.0.conv2 has 4 x 9; its norms do not count.
    assert unit_weights(net.model, net.couplings[0], "out").shape == (4, 27 + 36)


def test_pruned_mlps_keep_the_neurons_of_the_largest_coupled_scores() -> None:
    model = build(Recipe("mlp", (1, 4, 4), 5, {"widths": [12, 9]}), seed=1).double()
    scores = coupled(model, case("mlp").couplings, None)
    kept = kept_units(CompressionPlan(units={"fc1": 5, "fc2": 4}), scores)
    child = prune_neurons(model, (5, 4))
    assert torch.equal(child.fc1.weight, model.fc1.weight[list(kept["fc1"])])
    assert torch.equal(child.fc2.weight, model.fc2.weight[list(kept["fc2"])][:, list(kept["fc1"])])

"""Nested sizes worth a look, and the family that spends a budget on them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.frontier import nestable, sizes_worth
from brittle.compression.grids import positions_before
from brittle.compression.meet import meet
from brittle.compression.moments import input_moments
from brittle.compression.nested import nest
from brittle.compression.nested_ranks import nested_sizes
from brittle.compression.nesting import nesting
from brittle.compression.pairs import kernel_shape
from brittle.errors import ModelError, UsageError
from brittle.models.layers import LowRankLinear
from tests.compression.planned_nets import cnn, evidence, mlp, wide_cnn

LAYERS = ["conv2", "fc1"]


def test_only_layers_with_modes_can_be_nested() -> None:
    model = cnn()
    assert list(nestable(model, positions_before(model, ["fc1", "head"], torch.rand(1, 1, 8, 8)))) == ["conv2", "fc1"]
    assert list(nestable(model, {})) == ["conv2"], "conv1 has one channel"
    assert list(nestable(model, {"fc1": 64})) == ["conv2"], "so has this"
    model.fc1 = LowRankLinear(64, 40, 5)
    assert list(nestable(model, {"fc1": 4})) == ["conv2"]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("weighed", [False, True])
def test_sizes_save_weights_and_lose_less_the_larger_they_are(name: str, weighed: bool) -> None:
    model = cnn()
    layer = model.get_submodule(name)
    moment = input_moments(model, [name], evidence(200).x, batch_size=100)[name] if weighed else None
    sizes = sizes_worth(layer, moment, 4)
    shape = tuple(kernel_shape(layer))
    assert [s.weights for s in sizes] == sorted({s.weights for s in sizes})
    assert [s.lost for s in sizes] == sorted({s.lost for s in sizes}, reverse=True)
    assert sizes[-1].weights < kernel_shape(layer).numel()
    for size in sizes:
        found = nesting(shape, size.modes, size.rank)
        if size.modes is not None:
            assert found is not None
            assert sum(found.weights().values()) == size.weights < kernel_shape(layer).numel()


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_lost_is_bounded(name: str) -> None:
    """White inputs, where the bound of the higher-order SVD is exact."""
    layer = cnn().double().get_submodule(name)
    model = nn.Sequential(layer)
    weight = layer.weight.detach()
    for size in sizes_worth(layer, None, 4):
        wanted = nesting(tuple(weight.shape), size.modes, size.rank)
        if wanted is None:
            continue
        child = nest(nn.Sequential(nn.Identity(), *model), {"1": wanted})[1]
        points = torch.eye(weight[0].numel(), dtype=torch.float64)
        if name == "conv2":
            layer.padding = child.channels.padding = (0, 0)
            core = child.core.first if wanted.rank else child.core
            core.padding = (0, 0)
            points = points.view(-1, *weight.shape[1:])
        else:
            assert size.modes is not None
        gap = float((child(points) - layer(points)).detach().square().sum() / weight.square().sum())
        assert gap <= size.lost + 1e-9


def test_plans_grow_with_the_knob_and_meet_sizes() -> None:
    model = wide_cnn()
    positions = positions_before(model, ["fc1"], torch.rand(1, 1, 8, 8))
    family = nested_sizes(model, positions)
    cost = PlannedParameters(model, ())
    costs = [cost(family(i / 50)) for i in range(51)]
    assert costs == sorted(costs)
    assert costs[-1] == parameters(model)
    assert any(family(i / 50).modes for i in range(51))
    for keep in (0.5, 0.35, 0.2):
        plan = meet(family, cost, keep * parameters(model))
        assert 0.97 * keep * parameters(model) <= cost(plan) <= keep * parameters(model)


def test_at_a_size_nesting_loses_less_than_ranks() -> None:
    """By construction: neighbouring positions say the same, so ranks alone spend weights on copies."""
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(40, 16, 1, generator=generator) * torch.ones(1, 1, 16)
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(256, 40), nn.Linear(40, 5))
    model[2].weight.data = few.flatten(1)
    plan = meet(nested_sizes(model, {"2": 16}), PlannedParameters(model, ()), 0.15 * parameters(model))
    assert plan.modes["2"].positions >= 1
    wanted = nesting((40, 256), plan.modes["2"], plan.ranks.get("2", 0))
    assert wanted is not None
    x = torch.rand(10, 16, 16, generator=generator)
    torch.testing.assert_close(nest(model, {"2": wanted})(x), model(x), rtol=1e-4, atol=1e-4)


def test_networks_without_maps_get_ranks_and_nothing_to_shrink_is_refused() -> None:
    plan = nested_sizes(mlp(), {})(0.4)
    assert plan.ranks
    assert not plan.modes
    with pytest.raises(ModelError, match="no layer of the model gets smaller when it is nested"):
        nested_sizes(nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 2)), {})
    with pytest.raises(UsageError, match="knob"):
        nested_sizes(mlp(), {})(1.5)

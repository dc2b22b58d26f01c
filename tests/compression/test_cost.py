"""Planned costs against networks that were really built."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.cost import PlannedParameters, parameters, planned_parameters
from brittle.compression.factorable import factorable
from brittle.compression.factorise import factorise
from brittle.compression.pairs import kernel_shape
from brittle.compression.plan import CompressionPlan
from brittle.compression.removal import remove
from brittle.compression.single_weights import single_weights
from brittle.compression.unfoldings import full_rank, unfolding_of
from brittle.compression.unstructured import sparsify
from brittle.errors import ModelError, UsageError
from tests.compression.coupled_nets import NETS, SMALL, case


def counted(model: nn.Module) -> int:
    """By hand: every number of every tensor once."""
    seen = {id(p): p for module in model.modules() for p in module._parameters.values() if p is not None}
    return sum(len(p.detach().flatten()) for p in seen.values())


def test_shared_parameters_count_once_and_buffers_not_at_all() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    assert parameters(model) == 9 + 3 + 3 + 6


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(SMALL), seed=st.integers(0, 2**31))
def test_plans_cost_what_their_children_have(name: str, seed: int) -> None:
    net = case(name)
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    units = {c.name: draw(1, c.units) for c in net.couplings if draw(0, 3)}
    child = remove(net.model, {k: range(n) for k, n in units.items()}, net.couplings)
    ranks = {k: draw(0, full_rank(m, unfolding_of(m))) for k, m in factorable(child).items() if draw(0, 1)}
    child = factorise(child, ranks)
    plan = CompressionPlan(units=units, ranks=ranks)
    assert planned_parameters(net.model, net.couplings, plan) == counted(child) == parameters(child)

    densities = {k: draw(0, 10) / 10 for k in single_weights(child) if draw(0, 1)}
    sparse = single_weights(sparsify(child, densities))
    zeros = sum(int((sparse[k] == 0).sum()) for k in densities)
    plan = CompressionPlan(units=units, ranks=ranks, densities=densities)
    assert planned_parameters(net.model, net.couplings, plan) == counted(child) - zeros


@pytest.mark.parametrize("name", [name for name in NETS if name not in SMALL])
def test_foreign_children(name: str) -> None:
    net = case(name)
    plan = CompressionPlan(units={c.name: (c.units + 2) // 3 for c in net.couplings})
    child = remove(net.model, {k: range(n) for k, n in plan.units.items()}, net.couplings)
    assert PlannedParameters(net.model, net.couplings)(plan) == counted(child)


def test_closed_form_of_a_small_cnn() -> None:
    net = case("cnn")  # 1 -> 6 -> 8 channels, 4 x 4 windows, 72 -> 10 -> 5
    cost = PlannedParameters(net.model, net.couplings)
    whole = 6 * 17 + 8 * (6 * 16 + 1) + 10 * 73 + 5 * 11
    assert cost(CompressionPlan()) == whole
    units = {"conv1": 2, "conv2": 3, "fc1": 4}
    assert cost(CompressionPlan(units=units)) == 2 * 17 + 3 * (2 * 16 + 1) + 4 * (27 + 1) + 5 * 5
    saved = 10 * 72 - 3 * (10 + 72)
    assert cost(CompressionPlan(ranks={"fc1": 3})) == whole - saved
    assert cost(CompressionPlan(ranks={"fc1": 9})) == whole  # a pair would be larger
    # conv2 with 2 of 6 inputs but all 8 filters: unfolded over filters; with 3 filters over its channels.
    plan = CompressionPlan(units={"conv1": 2}, ranks={"conv2": 2})
    assert cost(plan) == 2 * 17 + 2 * (8 + 2 * 16) + 8 + 10 * 73 + 5 * 11
    plan = CompressionPlan(units={"conv2": 3}, ranks={"conv2": 1})
    assert cost(plan) == 6 * 17 + (6 + 3 * 16) + 3 + 10 * (27 + 1) + 5 * 11
    assert cost(CompressionPlan(densities={"fc1": 0.1}, bits=8)) == whole - 720 + 72


def test_a_pair_gets_cheaper_than_its_rank_when_its_sides_shrink() -> None:
    net = case("cnn, low rank")
    assert kernel_shape(net.model.conv2) == (8, 6, 4, 4)
    plan = CompressionPlan(units={"conv2.second": 2})
    child = remove(net.model, {"conv2.second": [0, 1]}, net.couplings)
    assert child.conv2.first.out_channels == 2  # it was 4
    assert planned_parameters(net.model, net.couplings, plan) == counted(child)


def test_refusals() -> None:
    net = case("cnn")
    cost = PlannedParameters(net.model, net.couplings)
    for plan, message in (
        (CompressionPlan(units={"fc9": 3}), "no coupling 'fc9' in the model: expected one of conv1, conv2, fc1"),
        (CompressionPlan(units={"fc1": 0}), "coupling 'fc1' has 10 neurons, the plan keeps 0: keep 1 to 10"),
        (CompressionPlan(units={"fc1": 11}), "coupling 'fc1' has 10 neurons, the plan keeps 11: keep 1 to 10"),
        (CompressionPlan(ranks={"fc9": 3}), "no layer 'fc9' in the model: take a plan of this model"),
        (CompressionPlan(densities={"fc9": 0.5}), "no layer 'fc9' in the model"),
        (
            CompressionPlan(ranks={"fc1": 2}, densities={"fc1": 0.5}),
            "no layer 'fc1' with single weights after the plan's ranks: name the parts of its pair",
        ),
    ):
        with pytest.raises(ModelError, match=message):
            cost(plan)
    with pytest.raises(UsageError, match=r"the density of layer 'fc1' is the share .*, in \[0, 1\]: 1\.5"):
        cost(CompressionPlan(densities={"fc1": 1.5}))
    with pytest.raises(ModelError, match="no coupling 'a' in the model: expected one of none"):
        planned_parameters(net.model, (), CompressionPlan(units={"a": 1}))

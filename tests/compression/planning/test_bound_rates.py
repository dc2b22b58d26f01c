"""Rates by the bound: operator norms of what is cut, and the bound on the outputs that they imply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.carry_out import How, carry_out
from brittle.compression.factorise import factorise
from brittle.compression.planning.bound_rates import bound_ranks, bound_widths
from brittle.compression.protocols import Evidence
from brittle.compression.scores.magnitude import l1
from brittle.errors import ModelError, UsageError
from tests.compression.planned_nets import cnn, cnn_couplings, mlp


@settings(max_examples=20, deadline=None)
@given(knob=st.floats(0.01, 0.99))
def test_what_goes_is_within_the_share_of_the_norm_and_one_more_would_not_be(knob: float) -> None:
    model = mlp()
    ranks = bound_ranks(model)(knob).ranks
    for name in ("fc1", "fc2"):
        sigma = np.linalg.svd(model.get_submodule(name).weight.detach().double().numpy(), compute_uv=False)
        rank = ranks.get(name, len(sigma))
        if name in ranks:
            assert sigma[rank] <= (1 - knob) * sigma[0] + 1e-9
            assert rank == 1 or sigma[rank - 1] > (1 - knob) * sigma[0] - 1e-9


def test_units_are_those_with_long_rows() -> None:
    plan = bound_widths(cnn(), cnn_couplings())(0.4)
    for name, count in plan.units.items():
        nu = cnn().get_submodule(name).weight.detach().double().flatten(1).abs().sum(1)
        assert count == max(1, int((nu > 0.6 * nu.max()).sum()))


@pytest.mark.parametrize("knob", [0.3, 0.6, 0.9])
def test_outputs_change_no_more_than_the_bound_says(knob: float) -> None:
    """ReLU layers without biases, as the bound has it; in l_inf for rows and in l_2 for ranks."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 25), nn.ReLU(), nn.Linear(25, 5)).double()
    for layer in (model[0], model[2], model[4]):
        layer.bias.data.zero_()
    x = torch.rand(50, 20, generator=generator, dtype=torch.float64)
    low = factorise(model, bound_ranks(model, ["0", "2"])(knob).ranks)
    norms = [float(torch.linalg.matrix_norm(model[i].weight.detach(), 2)) for i in (0, 2, 4)]
    change = (low(x) - model(x)).detach().norm(dim=1) / x.norm(dim=1)
    assert float(change.max()) <= ((2 - knob) ** 2 - 1) * np.prod(norms) + 1e-9
    from brittle.compression.couplings.find import couplings

    plan = bound_widths(model, couplings(model, x[:2]))(knob)
    child = carry_out(model, plan, How(l1), Evidence(x, torch.zeros(50).long(), None, 0))
    norms = [float(torch.linalg.matrix_norm(model[i].weight.detach(), torch.inf)) for i in (0, 2, 4)]
    change = (child(x) - model(x)).detach().abs().amax(1) / x.abs().amax(1)
    assert float(change.max()) <= ((2 - knob) ** 2 - 1) * np.prod(norms) + 1e-9


def test_the_ends_of_the_knob_and_the_way_between() -> None:
    for family in (bound_widths(cnn(), cnn_couplings()), bound_ranks(cnn())):
        plans = [family(k / 20) for k in range(21)]
        for name in plans[0].units | plans[0].ranks:
            counts = [p.units.get(name, 0) or p.ranks.get(name, 10**6) for p in plans]
            assert counts == sorted(counts)
            assert counts[0] == 1
    assert dict(bound_widths(cnn(), cnn_couplings())(1).units) == {c.name: c.units for c in cnn_couplings()}
    assert dict(bound_ranks(cnn())(1).ranks) == {}


def test_bad_knobs_and_networks_without_units_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the knob of a family of plans is in \[0, 1\]"):
        bound_ranks(cnn())(1.5)
    with pytest.raises(ModelError, match="no channels, neurons or heads that can be removed"):
        bound_widths(nn.Sequential(nn.Linear(4, 2)), ())

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.compression.softened import soften
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import Recipe, build


@pytest.fixture
def net() -> nn.Module:
    return build(Recipe("mlp", (1, 4, 4), 3, {"widths": [7, 5]}), seed=1).double()


def test_logits_shrink_by_the_factor_and_the_original_keeps_its_own(net):
    x = torch.rand(6, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = net(x)
    assert torch.allclose(soften(net, 0.1)(x), 0.1 * before, rtol=1e-12)
    assert torch.equal(net(x), before)


def test_a_softened_net_can_still_be_saved_by_its_recipe(net):
    assert soften(net, 0.5).recipe == net.recipe


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.5, float("nan")])
def test_factors_outside_the_unit_interval_are_refused(net, factor):
    with pytest.raises(UsageError, match="softer by a factor in"):
        soften(net, factor)


def test_a_model_without_a_dense_layer_at_its_end_is_refused():
    with pytest.raises(ModelError, match="ends in no dense layer"):
        soften(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), 0.1)

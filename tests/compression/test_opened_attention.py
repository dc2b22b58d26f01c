"""torch's attention in layers of its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from brittle.compression.duplicate import copied
from brittle.compression.factorable import factorable
from brittle.compression.opened_attention import opened
from brittle.errors import ModelError
from brittle.models.attention import SelfAttention
from tests.compression.coupled_nets import case


def test_the_map_stays_and_its_layers_can_be_factorised() -> None:
    net = case("torchvision vit")
    model = copy.deepcopy(net.model)
    child = opened(model)
    assert torch.allclose(child(net.pixels(2)), model(net.pixels(2)), atol=1e-12)
    path = "encoder.layers.encoder_layer_1.self_attention"
    assert isinstance(child.get_submodule(path), SelfAttention)
    assert isinstance(model.get_submodule(path), nn.MultiheadAttention)
    assert {f"{path}.{name}" for name in ("q", "k", "v", "proj")} <= set(factorable(child))


def test_attention_that_no_smaller_module_stands_in_for_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 2, batch_first=True))
    child = opened(model)
    assert type(child[0]) is nn.MultiheadAttention
    assert isinstance(child[1], SelfAttention)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = nn.Linear(2, 2)
    model.history = model(torch.zeros(2))
    for function in (copied, opened):
        with pytest.raises(ModelError, match=r"the model cannot be copied \(.*\): pass a plain nn.Module"):
            function(model)

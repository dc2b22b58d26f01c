"""Which weights can be cut or rounded one by one, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from brittle.compression.computed import computes_weight, shared_with
from brittle.compression.factorise import factorise
from brittle.compression.single_weights import chosen_weights, single_weights
from brittle.errors import ModelError
from brittle.models.recipe import Recipe, build


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def test_layers_factors_and_attention_but_no_norms_or_embeddings() -> None:
    child = factorise(build(Recipe("mlp", (1, 4, 4), 5, {"width": 12})), {"fc1": 2})
    assert list(single_weights(child)) == ["fc1.first", "fc1.second", "fc2", "head"]
    model = nn.ModuleDict(
        {
            "words": nn.Embedding(3, 4),
            "norm": nn.LayerNorm(4),
            "attention": nn.MultiheadAttention(4, 2),
            "line": nn.Conv1d(2, 4, 3, groups=2),
        }
    )
    found = single_weights(model)
    assert {name: tuple(weight.shape) for name, weight in found.items()} == {
        "attention": (12, 4),
        "attention.out_proj": (4, 4),
        "line": (4, 1, 3),
    }
    assert found["attention"] is model["attention"].in_proj_weight
    assert list(chosen_weights(model, ["line"])) == ["line"]


def test_shared_and_computed_weights_are_seen() -> None:
    assert shared_with(tied()) == {"0": "2", "2": "0"}
    assert shared_with(nn.Sequential(nn.Linear(2, 2))) == {}
    assert computes_weight(parametrizations.orthogonal(nn.Linear(3, 3)))
    assert not computes_weight(nn.Linear(3, 3))


def test_refusals() -> None:
    with pytest.raises(ModelError, match="layer '0' shares its weights with '2': untie them"):
        single_weights(tied())
    with pytest.raises(ModelError, match="layer '0' computes its weights: bake its parametrisations in"):
        single_weights(nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3))))
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ModelError, match="no layer '1' with weights of its own: expected one of 0"):
        chosen_weights(model, ["1"])
    model[0].weight.data[0, 0] = torch.inf
    with pytest.raises(ModelError, match="weight '0' holds NaN or infinity in 1 of 9 entries"):
        chosen_weights(model, None)

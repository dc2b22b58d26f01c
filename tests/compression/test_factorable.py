"""What can be factorised, and the reason for everything that cannot."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from brittle.compression.factorable import factorable, head_name, left_out
from brittle.compression.factorise import factorise
from brittle.errors import ModelError
from brittle.models.recipe import Recipe, build


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Named(nn.Linear):
    """A subclass that computes what a plain layer does."""


class ShiftedWindowAttention(nn.Module):
    """As torchvision's: reads the weights of its children."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(4, 12), nn.Linear(4, 4)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def twice() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def embedding() -> nn.Module:
    model = nn.ModuleDict({"words": nn.Embedding(6, 4), "head": nn.Linear(4, 6)})
    model["head"].weight = model["words"].weight
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_forward_hook(lambda module, args, output: output + 1)
    return model


def masked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


REFUSED = {
    "grouped": (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "0", "a convolution with 2 groups cannot be factorised"),
    "tied": (tied(), "0", "it shares its weights with '2'"),
    "tied, the other": (tied(), "2", "it shares its weights with '0'"),
    "at two places": (twice(), "0", "it shares its weights with '2'"),
    "embedding": (embedding(), "head", "it shares its weights with 'words'"),
    "parametrised": (
        nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4))),
        "0",
        "it computes its weights: bake its parametrisations in",
    ),
    "masked": (masked(), "0", "it computes its weights"),
    "own forward": (nn.Sequential(Doubled(4, 4)), "0", "its class Doubled computes more than a plain layer does"),
    "hooks": (hooked(), "0", "it has hooks, which a new layer would lose"),
    "attention": (nn.Sequential(nn.MultiheadAttention(4, 2)), "0.out_proj", "the module around it reads its weights"),
    "encoder": (nn.TransformerEncoderLayer(4, 2, 8), "linear1", "the module around it reads its weights"),
    "windows": (nn.Sequential(ShiftedWindowAttention()), "0.qkv", "the module around it reads its weights"),
    "alone": (nn.Linear(4, 4), "", "it is the whole model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason_before_any_change(name: str) -> None:
    model, layer, why = REFUSED[name]
    assert layer not in factorable(model)
    assert why in left_out(model)[layer]
    with pytest.raises(ModelError, match=f"layer '{layer}': {why}"):
        factorise(model, {layer: 1})


def test_half_precision_counts_and_integers_do_not() -> None:
    model = nn.Sequential(nn.Linear(4, 4).half())
    assert list(factorable(model)) == ["0"]
    model[0].weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.int8), requires_grad=False)
    assert left_out(model) == {"0": "its weights are int8, expected floating point"}


def test_plain_layers_pairs_and_harmless_subclasses_are_found_in_order() -> None:
    model = build(Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9], "ranks": [2, 0, 3, 0]}))
    assert list(factorable(model)) == ["conv1", "conv2", "fc1", "head"]
    assert left_out(model) == {}
    assert list(factorable(nn.Sequential(Named(4, 4)))) == ["0"]


def test_the_head_is_the_last_dense_layer() -> None:
    assert head_name(build(Recipe("resnet", (3, 8, 8), 5, {"depth": 8, "width": 4}))) == "head"
    assert head_name(nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 4, 3))) == "0"
    assert head_name(nn.Sequential(nn.Conv2d(4, 4, 3))) is None

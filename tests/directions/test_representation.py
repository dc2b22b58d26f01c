"""The head is the last linear layer that makes the logits; the representation is what it reads."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from brittle.directions.representation import find_head, logits_of, representation
from brittle.errors import ModelError
from brittle.models.layers import LowRankLinear
from brittle.models.pixels import Pixels
from brittle.models.recipe import Recipe, build
from tests.directions.dense import NETS, pixels
from tests.operators.nets import Step


@pytest.mark.parametrize("name", NETS)
def test_the_representation_is_what_the_head_reads(name: str) -> None:
    make, shape = NETS[name]
    model, x = make(), pixels(3, shape)
    assert find_head(model, x) is model.head
    with representation(model, x[:1]) as (called, function):
        assert called == "representation"
        torch.testing.assert_close(function(x), model.body(x).flatten(1))


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("ranks", [None, 3])
def test_heads_of_zoo_nets_behind_normalisation(name: str, ranks: int | None) -> None:
    net = build(Recipe(name, (1, 8, 8), 5, {} if ranks is None else {"ranks": ranks}), seed=0)
    assert find_head(Pixels(0.1, 0.3, net), pixels(2, (1, 8, 8))) is net[-1]


def test_a_low_rank_head_is_one_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), LowRankLinear(6, 5, 2))
    assert find_head(model, pixels(2, (4,))) is model[2]


def test_a_head_by_keyword_behind_a_dropout_and_used_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head, self.drop = nn.Linear(3, 4), nn.Linear(4, 4), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.head(input=torch.relu(self.head(self.first(x)))))

    model, x = Twice().eval(), pixels(2, (3,))
    with representation(model, x) as (called, function):
        assert called == "representation"
        torch.testing.assert_close(function(x), torch.relu(model.head(model.first(x))))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(12, 4)),  # nothing before the head
        nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4), Step(lambda z: 2 * z)),
        nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten()),
    ],
)
def test_logits_stand_in_where_no_head_separates_them_from_the_pixels(model: nn.Module) -> None:
    x = pixels(2, (3, 2, 2))
    assert find_head(model, x) is None
    with representation(model, x) as (called, function):
        assert called == "logits"
        torch.testing.assert_close(function(x), model(x))


def test_hooks_are_as_they_were_after_an_exception_too() -> None:
    model = nn.Sequential(OrderedDict(body=nn.Linear(3, 4), head=nn.Linear(4, 2)))
    calls: list[int] = []
    model.head.register_forward_pre_hook(lambda module, args: calls.append(1))
    x = pixels(1, (3,))
    with pytest.raises(KeyError), representation(model, x):
        raise KeyError
    find_head(model, x)
    for module in model.modules():
        assert len(module._forward_hooks) == 0
        assert len(module._forward_pre_hooks) == (module is model.head)
    assert len(calls) == 2


def test_a_pre_hook_of_the_users_is_seen() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[1].register_forward_pre_hook(lambda module, args: (2 * args[0],))
    x = pixels(2, (3,))
    with representation(model, x) as (_, function):
        torch.testing.assert_close(function(x), 2 * model[0](x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(7, 2), r"does not take inputs of shape \(2, 3\): mat1 and mat2"),
        (Step(lambda z: (z, z)), "expected a tensor of logits from the model, got tuple: wrap it"),
        (Step(lambda z: z[:, :, None]), r"expected logits of shape \(2, classes\), got \(2, 3, 1\)"),
        (Step(lambda z: z[:1]), r"expected logits of shape \(2, classes\), got \(1, 3\)"),
        (Step(lambda z: z[:, :0]), r"expected logits of shape \(2, classes\), got \(2, 0\)"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        logits_of(model, pixels(2, (3,)))

"""Architectures of trials."""

from __future__ import annotations

import pytest
import torch

from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import build
from brittle.studies.sources.architecture import dense_recipe, recipe_of
from brittle.studies.tasks import Learning
from brittle.studies.trial import DynamicsSource, InterventionSource, RankSource, Source, Trial, WidthSource

DIGITS = Learning(*[Split(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))] * 2, 10)


def built(model: str, source: Source) -> dict[str, tuple[int, ...]]:
    net = build(recipe_of(Trial(model=model), source, DIGITS), seed=0)
    return {name: tuple(value.shape) for name, value in net.state_dict().items() if value.dim() > 1}


def test_every_hidden_width_is_multiplied() -> None:
    assert built("zoo:mlp?width=40&depth=2", WidthSource(factor=0.25)) == {
        "fc1.weight": (10, 64), "fc2.weight": (10, 10), "head.weight": (10, 10)
    }  # fmt: skip
    assert built("zoo:mlp?widths=40,8", WidthSource(factor=0.5))["fc2.weight"] == (4, 20)
    cnn = built("zoo:cnn?channels=8,16&fc=20", WidthSource(factor=0.5))
    assert [shape[0] for shape in cnn.values()] == [4, 8, 10, 10]
    vit = built("zoo:vit?dim=32&depth=1&heads=4&patch=4", WidthSource(factor=0.4))
    assert vit["head.weight"] == (10, 12)  # the multiple of four heads nearest to 12.8
    assert built("zoo:mlp?width=3&depth=1", WidthSource(factor=0.01))["fc1.weight"] == (1, 64)


@pytest.mark.parametrize("model", ["zoo:resnet?depth=8&width=8", "zoo:resnet_b?stem=4"])
def test_residual_networks_become_narrower(model: str) -> None:
    wide, narrow = (built(model, WidthSource(factor=factor)) for factor in (1.0, 0.5))
    assert wide.keys() == narrow.keys()
    hidden = [name for name in wide if name != "head.weight"]
    assert all(2 * narrow[name][0] == wide[name][0] for name in hidden)


def test_rank_and_dropout_are_options() -> None:
    low = built("zoo:mlp?width=40&depth=2", RankSource(rank=3))
    assert low["fc1.first.weight"] == (3, 64)
    assert low["fc2.second.weight"] == (40, 3)
    assert recipe_of(Trial(), DynamicsSource(setting="dropout", value=0.25), DIGITS).options["dropout"] == 0.25
    flat = InterventionSource(name="flatten", strength=0.5, of=RankSource(rank=3))
    assert recipe_of(Trial(), flat, DIGITS) == recipe_of(Trial(), RankSource(rank=3), DIGITS)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="a trial trains a zoo model from scratch, got 'timm:vit'"):
        dense_recipe(Trial(model="timm:vit"), DIGITS)
    with pytest.raises(ModelError, match="no option 'dropout'"):
        recipe_of(Trial(model="zoo:resnet?depth=8"), DynamicsSource(setting="dropout", value=0.1), DIGITS)

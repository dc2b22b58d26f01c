"""Recipes: round trips, `zoo:` strings, building from a seed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brittle.errors import ModelError
from brittle.models.options import known_options, per_layer, rank_plan
from brittle.models.pixels import Pixels
from brittle.models.recipe import Recipe, attach, build, parse_zoo, recipe_of, show_shape, skeleton
from brittle.models.zoo import ZOO


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["relu", "gelu"]),
    st.none() | st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
)
def test_round_trip(widths: list[int], bias: bool, activation: str, std: list[float] | None) -> None:
    options = {"widths": tuple(widths), "bias": bias, "activation": activation}
    mean = None if std is None else (0.1, 0.2, 0.3)
    recipe = Recipe("mlp", (3, 4, 4), 7, options, mean, None if std is None else tuple(std))
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.options["widths"] == widths


def test_query_says_everything() -> None:
    recipe = parse_zoo(
        "zoo:cnn?channels=4,8&kernel=3&stride=1,2&fc=none&batch_norm=true&activation=silu"
        "&input=3x12x12&classes=5&mean=0.1,0.2,0.3&std=0.5"
    )
    assert recipe == Recipe(
        "cnn",
        (3, 12, 12),
        5,
        {"channels": [4, 8], "kernel": 3, "stride": [1, 2], "fc": None, "batch_norm": True, "activation": "silu"},
        (0.1, 0.2, 0.3),
        (0.5,),
    )
    model = build(recipe)
    assert isinstance(model, Pixels)
    assert not model.training
    assert model.model.conv2.stride == (2, 2)
    assert model(torch.rand(2, 3, 12, 12)).shape == (2, 5)


def test_input_and_classes_may_come_from_the_data() -> None:
    recipe = parse_zoo("zoo:mlp?width=9&depth=1", input_shape=(1, 8, 8), classes=10)
    assert (recipe.input_shape, recipe.classes, recipe.mean) == ((1, 8, 8), 10, None)
    assert parse_zoo("zoo:mlp?classes=3", input_shape=(4,)).classes == 3
    assert parse_zoo("zoo:mlp?input=4", classes=3).input_shape == (4,)
    assert parse_zoo("zoo:mlp?widths=9,&input=4&classes=3").options == {"widths": [9]}


def test_same_seed_same_weights_and_the_global_generator_is_left_alone() -> None:
    recipe = Recipe("mlp", (4,), 3, {"width": 5})
    before = torch.random.get_rng_state()
    first, again, other = (build(recipe, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["fc1.weight"], other["fc1.weight"])


def test_model_carries_its_recipe() -> None:
    recipe = Recipe("mlp", (4,), 3, {"width": 5}, (0.5,), (0.5,))
    assert recipe_of(build(recipe)) is recipe
    assert recipe_of(torch.nn.Linear(2, 2)) is None
    assert recipe_of(attach(torch.nn.Linear(2, 2), recipe)) is recipe


def test_skeleton_takes_no_memory() -> None:
    huge = Recipe("mlp", (10**6,), 10, {"width": 10**6}, (0.5,), (0.5,))
    shapes = {k: tuple(v.shape) for k, v in skeleton(huge).state_dict().items()}
    assert shapes["model.fc1.weight"] == (10**6, 10**6)
    small = Recipe("mlp", (4,), 3, {"width": 5}, (0.5,), (0.5,))
    assert list(skeleton(small).state_dict()) == list(build(small).state_dict())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zoo:vgg?input=4&classes=2", "unknown architecture 'vgg' .*expected one of mlp, cnn, resnet, resnet_b"),
        (
            "zoo:mlp?breadth=4&input=4&classes=2",
            "zoo:mlp has no option 'breadth': expected one of width, depth, widths, ranks",
        ),
        ("zoo:mlp?width=abc&input=4&classes=2", "zoo:mlp: option width takes a whole number, got 'abc'"),
        ("zoo:mlp?width=true&input=4&classes=2", "option width takes a whole number, got True"),
        ("zoo:mlp?width=2.5&input=4&classes=2", "option width takes a whole number, got 2.5"),
        ("zoo:mlp?bias=1&input=4&classes=2", "option bias takes true or false, got 1"),
        (
            "zoo:mlp?widths=4,x&input=4&classes=2",
            "option widths takes a whole number or a list of whole numbers or none, got 4,x",
        ),
        ("zoo:mlp?activation=3&input=4&classes=2", "option activation takes a word, got 3"),
        ("zoo:mlp?width=inf&input=4&classes=2", "option width must be a finite number, got inf"),
        ("zoo:mlp?width=&input=4&classes=2", "option width has no value"),
        ("zoo:mlp?width&input=4&classes=2", "cannot read 'width' in"),
        ("zoo:mlp?=3&input=4&classes=2", "cannot read '=3' in"),
        ("zoo:mlp?width=3&width=4&input=4&classes=2", "option 'width' is given twice"),
        ("zoo:mlp?input=4", "add input=1x28x28&classes=10, or give the data"),
        ("zoo:mlp?classes=4", "add input=1x28x28&classes=10, or give the data"),
        ("zoo:mlp?input=4xx&classes=4", "option input must be sizes such as 1x28x28, got '4xx'"),
        ("zoo:mlp?input=0x4&classes=4", "input shape must be positive sizes such as 1x28x28, got '0x4'"),
        ("zoo:mlp?input=4&classes=ten", "option classes must be a whole number, got 'ten'"),
        ("zoo:mlp?input=4&classes=1", "classes must be at least 2, got 1"),
        ("zoo:mlp?input=4&classes=2&mean=0.5", "mean and std go together"),
        ("zoo:mlp?input=4&classes=2&mean=0.5&std=0", "std must be positive"),
        ("zoo:mlp?input=4&classes=2&mean=a&std=1", "option mean must be a number, or one for each channel"),
        (
            "zoo:cnn?input=3x9x9&classes=2&mean=0.5,0.5&std=1",
            "mean has 2 entries for 3 channels: give one number, or 3",
        ),
        ("zoo:cnn?input=1x9x9&classes=2&mean=0.5&std=1,1", "std has 2 entries for 1 channels"),
    ],
)
def test_refused_strings(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        parse_zoo(spec)
    assert "\n" not in str(caught.value)


def test_query_and_data_must_agree() -> None:
    with pytest.raises(ModelError, match="takes inputs of shape 1x28x28, the data have 3x32x32"):
        parse_zoo("zoo:mlp?input=1x28x28&classes=10", input_shape=(3, 32, 32))
    with pytest.raises(ModelError, match="has 10 classes, the data have 7"):
        parse_zoo("zoo:mlp?input=4&classes=10", classes=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "nonsense"}, "unknown architecture 'nonsense'"),
        ({"architecture": None}, "not a valid Recipe record: field 'architecture'"),
        ({"options": {"width": "wide"}}, "option width takes a whole number, got 'wide'"),
        ({"options": {"evil": 1}}, "zoo:mlp has no option 'evil'"),
        ({"input_shape": []}, "input shape must be positive sizes"),
        ({"std": None}, "mean and std go together"),
    ],
)
def test_broken_records(change: dict[str, Any], message: str) -> None:
    values = Recipe("mlp", (4,), 3, {"width": 5}, (0.5,), (0.5,)).to_dict() | change
    with pytest.raises(ModelError, match=message):
        Recipe.from_dict(values)


@pytest.mark.parametrize("width", [10**12, 10**30])
def test_sizes_that_no_memory_holds(width: int) -> None:
    recipe = Recipe("mlp", (4,), 3, {"widths": [width, width]})
    with pytest.raises(ModelError, match=r"zoo:mlp cannot be built .*choose smaller sizes"):
        build(recipe)


def test_show_shape() -> None:
    assert show_shape((1, 28, 28)) == "1x28x28"


def test_known_options_are_the_keywords() -> None:
    assert known_options(ZOO["mlp"]) == ("width", "depth", "widths", "ranks", "activation", "bias", "dropout")


def test_one_value_or_one_each() -> None:
    assert per_layer("stride", 2, 3) == (2, 2, 2)
    assert per_layer("stride", (1, 2, 3), 3) == (1, 2, 3)


def test_rank_plan() -> None:
    assert rank_plan(None, [4, 5, 6]) == (0, 0, 0)
    assert rank_plan(4, [4, 5, 6]) == (0, 4, 0)
    assert rank_plan((4, 0), [4, 5, 6]) == (4, 0, 0)
    assert rank_plan((0, 5, 6), [4, 5, 6]) == (0, 5, 6)

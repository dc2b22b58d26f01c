"""Zeros in place: how many, which, and what the families ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.unstructured import magnitude_densities, sparsify, uniform_densities
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import Recipe, build, recipe_of

CNN = build(Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9], "batch_norm": True}), seed=2)
LAYERS = ("conv1", "conv2", "fc1", "head")
with torch.no_grad():
    for scale, layer in enumerate(LAYERS):
        CNN.get_submodule(layer).weight.mul_(1 + scale)


def weight(model: nn.Module, layer: str) -> np.ndarray:
    return model.get_submodule(layer).weight.detach().numpy().ravel()


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1))
def test_the_largest_stay_bit_by_bit_and_the_count_is_exact(density: float) -> None:
    child = sparsify(CNN, {"conv2": density, "head": 1.0})
    before, after = weight(CNN, "conv2"), weight(child, "conv2")
    kept = np.flatnonzero(after)
    assert len(kept) == max(1, round(density * len(before)))
    assert (after[kept] == before[kept]).all()
    assert set(kept) == set(np.argsort(-np.abs(before), kind="stable")[: len(kept)])
    for name, value in CNN.state_dict().items():
        assert name == "conv2.weight" or torch.equal(child.state_dict()[name], value)


def test_of_equal_weights_the_first_stay_and_the_original_too() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    nn.init.constant_(model[0].weight, 0.5)
    assert sparsify(model, {"0": 0.5})[0].weight.flatten().tolist() == [0.5, 0.5, 0.5, 0, 0, 0]
    assert (model[0].weight == 0.5).all()
    assert recipe_of(sparsify(CNN, {"fc1": 0.5})) == recipe_of(CNN)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 1))
def test_one_threshold_for_all_layers(knob: float) -> None:
    every = np.sort(np.abs(np.concatenate([weight(CNN, layer) for layer in LAYERS])))[::-1]
    count = round(knob * len(every))
    child = sparsify(CNN, magnitude_densities(CNN)(knob).densities)
    kept = np.concatenate([weight(child, layer) for layer in LAYERS])
    emptied = [layer for layer in LAYERS if (np.abs(weight(CNN, layer)) >= every[count - 1]).sum() == 0]
    assert np.count_nonzero(kept) == count + len(emptied), "a layer keeps one weight at least"
    if not emptied:
        assert np.abs(kept[kept != 0]).min() == every[count - 1]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([magnitude_densities, uniform_densities]), st.floats(0, 1), st.floats(0, 1))
def test_families_never_fall_and_end_at_everything(family: object, a: float, b: float) -> None:
    small, large = (family(CNN)(knob).densities for knob in sorted((a, b)))
    assert all(small[layer] <= large[layer] for layer in LAYERS)
    assert set(family(CNN)(1.0).densities.values()) == {1.0}
    for layer, density in family(CNN)(0.0).densities.items():
        assert density * len(weight(CNN, layer)) == pytest.approx(1)


def test_uniform_is_the_same_share_and_layers_can_be_named() -> None:
    shares = uniform_densities(CNN)(0.5).densities
    assert list(shares) == list(LAYERS)
    assert all(share == pytest.approx(0.5, abs=1 / len(weight(CNN, layer))) for layer, share in shares.items())
    assert list(uniform_densities(CNN, ["fc1"])(0.5).densities) == ["fc1"]
    assert list(magnitude_densities(CNN, ["fc1"])(0.5).densities) == ["fc1"]


def test_refusals() -> None:
    for density in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="the density of layer 'fc1' is the share of weights that stay"):
            sparsify(CNN, {"fc1": density})
    with pytest.raises(ModelError, match="no layer 'fc9' with weights of its own"):
        sparsify(CNN, {"fc9": 0.5})
    for family in (magnitude_densities, uniform_densities):
        with pytest.raises(ModelError, match="no dense layer or convolution whose weights could be cut"):
            family(nn.Sequential(nn.ReLU()))
        with pytest.raises(UsageError, match="the knob of a family of plans"):
            family(CNN)(2.0)

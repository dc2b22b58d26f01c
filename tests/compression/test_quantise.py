"""Rounded weights: on the grid, within half a step, nothing else touched."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.quantise import levels, round_weights, rounded, scales
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import Recipe, build, recipe_of
from tests.compression.low_rank_cases import normal

CNN = build(Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9], "batch_norm": True}), seed=2)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99), st.sampled_from([1e-6, 1.0, 1e4]))
def test_within_half_a_step_on_a_grid_of_integers(bits: int, h: int, d: int, seed: int, size: float) -> None:
    weight = size * normal(h, d, seed=seed)
    result, step = rounded(weight, bits), weight.abs().amax(1) / (2 ** (bits - 1) - 1)
    assert torch.allclose(scales(weight, bits), step)
    assert ((result - weight).abs() <= step[:, None] / 2 * (1 + 1e-12)).all()
    integers = result / step[:, None]
    assert torch.allclose(integers, integers.round(), atol=1e-9)
    assert integers.abs().max() <= 2 ** (bits - 1) - 1 + 1e-9
    assert torch.allclose(rounded(result, bits), result, rtol=1e-12), "what is on the grid stays"


def test_every_output_has_its_own_scale() -> None:
    weight = torch.tensor([[1.0, 0.3], [1000.0, 300.0], [0.0, 0.0]])
    result = rounded(weight, 8)
    assert torch.allclose(result[1], 1000 * result[0])
    assert (result[2] == 0).all()
    assert scales(weight, 8)[2] == 0
    assert float(result[0, 1]) == pytest.approx(38 / 127)  # 0.3 * 127 = 38.1


def test_single_precision_is_exact_on_its_own_grid() -> None:
    weight = normal(8, 50, seed=0).float()
    steps = (rounded(weight, 8) / scales(weight, 8)[:, None]).round()
    assert torch.equal(steps * scales(weight, 8)[:, None], rounded(weight, 8)), "int8 and scales say everything"


def test_biases_norms_and_the_original_stay() -> None:
    before = {key: value.clone() for key, value in CNN.state_dict().items()}
    child = round_weights(CNN)
    weights = {f"{layer}.weight" for layer in ("conv1", "conv2", "fc1", "head")}
    for key, value in child.state_dict().items():
        assert torch.equal(value, before[key]) == (key not in weights)
        if key in weights:
            step = before[key].flatten(1).abs().amax(1) / 127
            assert ((value - before[key]).flatten(1).abs() <= step[:, None] * 0.5001).all()
    assert all(torch.equal(value, before[key]) for key, value in CNN.state_dict().items())
    assert recipe_of(child) == recipe_of(CNN)
    some = round_weights(CNN, layers=["fc1"]).state_dict()
    assert [key for key in some if not torch.equal(some[key], before[key])] == ["fc1.weight"]


def test_refusals() -> None:
    for bits in (1, 9, 4.5):
        with pytest.raises(UsageError, match="weights are rounded to 2 up to 8 bits, got"):
            round_weights(CNN, bits)
    assert levels(8) == 127
    with pytest.raises(ModelError, match="no dense layer or convolution whose weights could be rounded"):
        round_weights(nn.Sequential(nn.ReLU()))
    with pytest.raises(ModelError, match="no layer 'fc9' with weights of its own"):
        round_weights(CNN, 8, ["fc9"])

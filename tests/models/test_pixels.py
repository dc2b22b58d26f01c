"""`Pixels`: normalisation inside the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.pixels import Pixels, check_normalisation


def test_normalises_each_channel() -> None:
    x = torch.rand(4, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    got = Pixels(mean, std, nn.Identity()).double()(x).numpy()
    for c in range(3):
        want = (x[:, c].numpy() - mean[c]) / std[c]
        np.testing.assert_allclose(got[:, c], want, atol=1e-6)  # the buffers are float32


def test_one_number_serves_inputs_of_any_shape() -> None:
    model = Pixels(0.5, [0.25], nn.Identity())
    assert model.mean.shape == model.std.shape == ()
    for shape in ((2, 7), (2, 1, 4, 4), (2, 3, 4, 4)):
        assert torch.equal(model(torch.ones(shape)), torch.full(shape, 2.0))


def test_buffers_travel_with_the_model() -> None:
    model = Pixels(torch.tensor([0.1, 0.2]), torch.tensor([[[1.0]], [[2.0]]]), nn.Linear(2, 2))
    assert model.mean.shape == model.std.shape == (2, 1, 1)
    assert list(model.state_dict()) == ["mean", "std", "model.weight", "model.bias"]
    assert not [name for name, _ in model.named_parameters() if not name.startswith("model.")]


def test_one_mean_with_a_std_for_each_channel() -> None:
    model = Pixels(0.5, [0.25, 0.5], nn.Identity())
    got = model(torch.ones(1, 2, 1, 1)).flatten()
    assert got.tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5], [0.0], "std must be positive numbers in pixel units, got 0.0"),
        ([0.5], [-1.0], "std must be positive"),
        ([0.5], [float("nan")], "std must be positive"),
        ([0.5], [float("inf")], "std must be positive"),
        ([float("nan")], [1.0], "mean must be finite numbers"),
        ([0.1, 0.2], [1.0, 1.0, 1.0], "mean has 2 entries and std has 3"),
        ([], [], "mean has 0 entries"),
    ],
)
def test_refuses(mean: list[float], std: list[float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Pixels(mean, std, nn.Identity())
    with pytest.raises(ModelError, match=message):
        check_normalisation(mean, std)

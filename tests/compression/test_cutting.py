"""Single modules with fewer positions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.compression.cutting import cut, set_heads
from brittle.errors import ModelError
from brittle.models.attention import SelfAttention

OUT, IN = torch.tensor([True, False, True]), torch.tensor([False, True])


def test_a_dense_layer() -> None:
    layer = nn.Linear(2, 3)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    cut(layer, OUT, IN)
    assert torch.equal(layer.weight, weight[[0, 2]][:, [1]])
    assert torch.equal(layer.bias, bias[[0, 2]])
    assert (layer.in_features, layer.out_features) == (1, 2)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_convolution(kind: type[nn.Conv2d]) -> None:
    layer = kind(2, 3, 2, bias=False)
    weight = layer.weight.clone()
    cut(layer, OUT, IN)
    assert torch.equal(layer.weight, weight[[0, 2]][:, [1]])
    assert (layer.in_channels, layer.out_channels, layer.bias) == (1, 2, None)


def test_a_norm_without_scales_or_statistics() -> None:
    norm = nn.BatchNorm2d(3, affine=False)
    cut(norm, OUT, None)
    assert norm.running_mean.shape == (2,)
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0])
    cut(norm, OUT, None)
    assert norm.weight.tolist() == [1.0, 3.0]
    cut(norm, None, None)
    assert norm.num_features == 2


def test_slopes() -> None:
    slopes = nn.PReLU(3)
    cut(slopes, OUT, None)
    assert (slopes.num_parameters, slopes.weight.shape) == (2, (2,))


def test_heads() -> None:
    attention = SelfAttention(4, 4, 2)
    set_heads(attention, 1)
    assert attention.heads == 1


def test_refusals() -> None:
    with pytest.raises(ModelError, match="a LayerNorm cannot lose channels: leave it out of the plan"):
        cut(nn.LayerNorm(3), OUT, None)
    with pytest.raises(ModelError, match="a Linear has no heads to remove: leave it out of the plan"):
        set_heads(nn.Linear(2, 2), 1)

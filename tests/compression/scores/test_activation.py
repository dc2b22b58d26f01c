"""Mean activations against what the layers are really given."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.protocols import Evidence
from brittle.compression.scores.activation import activation
from tests.compression.coupled_nets import case


def inputs(model: nn.Module, path: str, x: Tensor) -> Tensor:
    """What one layer is called with."""
    seen: list[Tensor] = []
    handle = model.get_submodule(path).register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    with torch.no_grad():
        model(x)
    handle.remove()
    return seen[0]


def test_flattened_channels_and_neurons() -> None:
    net = case("cnn")
    x = net.pixels(300)  # more than one batch
    scores = activation(net.model, net.couplings, Evidence(x, torch.zeros(300, dtype=torch.int64), None, 0))
    given = inputs(net.model, "fc1", x).view(300, 8, 9)
    assert torch.allclose(scores["conv2"], given.abs().mean((0, 2)))
    assert torch.allclose(scores["conv1"], inputs(net.model, "conv2", x).abs().mean((0, 2, 3)))
    assert torch.allclose(scores["fc1"], inputs(net.model, "head", x).abs().mean(0))


def test_several_readers_are_averaged() -> None:
    net = case("resnet, projected")
    x = net.pixels(5)
    scores = activation(net.model, net.couplings, Evidence(x, torch.zeros(5, dtype=torch.int64), None, 0))
    readers = ("layer1.0.conv1", "layer2.0.conv1", "layer2.0.shortcut.0")
    means = [inputs(net.model, path, x).abs().mean((0, 2, 3)) for path in readers]
    assert torch.allclose(scores["conv1"], sum(means) / 3)


@pytest.mark.parametrize("name", ["vit", "torchvision vit"])
def test_heads(name: str) -> None:
    net = case(name)
    x = net.pixels(4)
    model = copy.deepcopy(net.model)
    scores = activation(model, net.couplings, Evidence(x, torch.zeros(4, dtype=torch.int64), None, 0))
    first = net.couplings[0]
    attention = model.get_submodule(first.name)
    if name == "vit":
        given = inputs(model, f"{first.name}.proj", x)
    else:  # by hand: torch's attention never calls the layer that reads its heads
        tokens = inputs(model, first.name.replace("self_attention", "ln_1"), x)
        tokens = model.encoder.layers.encoder_layer_0.ln_1(tokens)
        q, k, v = (tokens @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, 2)
        heads = [
            (q[..., i] @ k[..., i].transpose(1, 2) / 8**0.5).softmax(-1) @ v[..., i]
            for i in (range(8 * j, 8 * j + 8) for j in range(4))
        ]
        given = torch.cat(heads, 2).detach()
    wanted = torch.stack([part.abs().mean() for part in given.chunk(first.units, 2)])
    assert torch.allclose(scores[first.name], wanted)
    assert not any(m._forward_pre_hooks for m in model.modules())

"""A layer norm's gain joins exactly the matrices that read it: compared with the modules on normalised features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.operators.network import Network, read_network
from tests.operators.hub_models import SMALL
from tests.operators.nets import Step, settled


class Block(nn.Module):
    """A norm whose features go, moved about by `route`, to two linear layers; `beside` also reads them."""

    def __init__(self, route: nn.Module, beside: bool = False, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6) if norm is None else norm
        self.route, self.beside = route, beside
        self.a, self.b, self.head = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(x)
        moved = self.route(z)
        out = (self.a(moved) + self.b(moved)).flatten(1, -2).mean(1) if moved.dim() > 2 else self.a(moved)
        return self.head(out) + (z.mean((1, 2))[:, None] if self.beside else 0.0)


def _read(model: nn.Module) -> Network:
    return read_network(settled(model), (4, 6))


ROUTES = {
    "none": lambda z: z,
    "transposed tokens": lambda z: z.transpose(0, 1).transpose(0, 1),
    "a class token": lambda z: z[:, 0],
    "a mean over tokens": lambda z: z.mean(1),
    "windows": lambda z: torch.roll(z.view(-1, 2, 2, 6), (1, 1), (1, 2)).permute(0, 2, 1, 3).reshape(-1, 4, 6),
    "padded tokens": lambda z: F.pad(z, (0, 0, 0, 1)),
}


@pytest.mark.parametrize("route", ROUTES)
def test_the_gain_joins_every_reader_and_nothing_is_left(route: str) -> None:
    model = Block(Step(ROUTES[route]))
    network = _read(model)
    gain = model.norm.weight.detach().double()
    for layer in network.layers:
        if layer.name in ("a", "b"):
            weight = model.get_submodule(layer.name).weight.detach().double()
            torch.testing.assert_close(layer.view.matrix(), weight * gain, rtol=0, atol=0)
    assert set(network.folded) == {"norm.weight", "norm.bias"}
    assert {row.name for row in network.unmeasured} <= {"b.weight", "b.bias"}  # two routes do not use b
    assert sum(layer.parameters for layer in network.layers if layer.name == "a") == 6 * 5 + 5


MIXED = {
    "features moved": Block(Step(lambda z: z.roll(1, -1))),
    "features as tokens": Block(Step(lambda z: F.pad(z, (0, 0, 0, 2)).transpose(1, 2))),
    "an activation between": Block(nn.ReLU()),
    "a sum beside": Block(Step(lambda z: z), beside=True),
}


@pytest.mark.parametrize("name", MIXED)
def test_the_gain_stays_where_it_could_not_be_exact(name: str) -> None:
    model = MIXED[name]
    network = _read(model)
    (layer,) = [layer for layer in network.layers if layer.name == "a"]
    assert torch.equal(layer.view.matrix(), model.a.weight.detach().double())
    assert network.folded == ()
    assert {row.why for row in network.unmeasured} == {"gain or shift of LayerNorm: no matrix by itself"}


def test_the_shift_joins_the_layers_shift() -> None:
    """`W (g z + s) + b` on normalised z, computed by the module, against the graph's own affine map."""
    model = Block(Step(lambda z: z))
    network = _read(model)
    assert network.graph is not None
    (node,) = [node for node in network.graph.nodes if node.name == "a"]
    x = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = model.double()
    z = F.layer_norm(x, (6,), eps=model.norm.eps)
    with torch.no_grad():
        wanted = model.a(model.norm(x))
    torch.testing.assert_close(node.op.view.apply(z) + node.op.bias, wanted)  # type: ignore[union-attr,operator]


def test_a_gain_joins_a_convolution_that_reads_features_as_channels() -> None:
    class Downsample(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv, self.head = nn.LayerNorm(4), nn.Conv2d(4, 2, 2, stride=2), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.head(self.conv(z).flatten(1))

    model = settled(Downsample())
    network = read_network(model, (4, 4, 4))
    (layer,) = [layer for layer in network.layers if layer.name == "conv"]
    wanted = (model.conv.weight * model.norm.weight[:, None, None]).detach().double().flatten(1)
    torch.testing.assert_close(layer.view.matrix(), wanted, rtol=1e-6, atol=0)
    assert set(network.folded) == {"norm.weight", "norm.bias"}


def test_root_mean_square_norms_too_and_norms_without_a_gain_are_no_trouble() -> None:
    model = Block(Step(lambda z: z), norm=nn.RMSNorm(6))
    network = _read(model)
    (layer,) = [layer for layer in network.layers if layer.name == "a"]
    torch.testing.assert_close(
        layer.view.matrix(), (model.a.weight * model.norm.weight).detach().double(), rtol=1e-6, atol=0
    )
    assert network.folded == ("norm.weight",)
    plain = Block(Step(lambda z: z), norm=nn.LayerNorm(6, elementwise_affine=False))
    assert _read(plain).unmeasured == ()


REAL = {
    "torchvision ViT": ("encoder.layers.encoder_layer_0", "ln_1", "self_attention.in_proj_weight", 16),
    "timm ViT": ("blocks.0", "norm1", "attn.qkv.weight", 24),
    "timm Swin": ("layers.0.blocks.0", "norm1", "attn.qkv.weight", 8),
}


@pytest.mark.parametrize("name", REAL)
def test_gains_of_real_blocks(name: str) -> None:
    """With random gains the queries of the first block are the module's rows times the gain of the norm before it."""
    model, shape = SMALL[name]()
    settled(model)
    block, norm, weight, rows = REAL[name]
    assert shape is not None
    layers = {layer.name: layer.view.matrix() for layer in read_network(model, shape).layers}
    queries = next(matrix for key, matrix in layers.items() if key.endswith(("in_proj.q", "qkv.q")))
    first = model.get_submodule(block)
    wanted = first.get_parameter(weight)[:rows].double() * first.get_parameter(f"{norm}.weight").double()
    torch.testing.assert_close(queries, wanted.detach(), rtol=1e-6, atol=0)

"""Low-rank children of many architectures: output shapes, sizes, the function kept at high rank, a step of training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from brittle.compression.factorable import factorable, left_out
from brittle.compression.factorise import factorise
from brittle.compression.moments import input_moments
from brittle.compression.pairs import kernel, kernel_shape, low_rank_layers
from brittle.compression.ranks import energy_ranks, thin_layers
from brittle.compression.unfoldings import full_rank, unfolding_of, weights_at
from brittle.models.recipe import Recipe, build
from tests.compression.foreign_nets import foreign, foreign_package

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "cnn": (lambda: build(Recipe("cnn", (2, 8, 8), 5, {"channels": [8, 4], "fc": [24]}), seed=1), (2, 8, 8)),
    "resnet": (lambda: build(Recipe("resnet", (3, 8, 8), 5, {"depth": 8, "width": 8}), seed=1), (3, 8, 8)),
    "vit": (lambda: build(Recipe("vit", (3, 8, 8), 5, {"dim": 16, "depth": 2, "heads": 2}), seed=1), (3, 8, 8)),
    "resnet18": (lambda: foreign("torchvision", "resnet18", num_classes=5), (3, 32, 32)),
    "mobilenet_v2": (lambda: foreign("torchvision", "mobilenet_v2", num_classes=5, width_mult=0.25), (3, 32, 32)),
    "vit_tiny": (
        lambda: foreign("timm", "vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2),
        (3, 32, 32),
    ),
}


def rebuilt(model: nn.Module, layers: list[str]) -> dict[str, float]:
    """Full-rank pairs in the places of layers, with the largest difference of their kernels."""
    off = {}
    for name in layers:
        layer = model.get_submodule(name)
        unfolding = unfolding_of(layer)
        u, s, vt = torch.linalg.svd(unfolding.matrix(kernel(layer)), full_matrices=False)
        pair = unfolding.pair(layer, u * s, vt, layer.bias)
        off[name] = float((kernel(pair) - kernel(layer)).abs().max())
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, pair)
    return off


@pytest.mark.parametrize("name", NETS)
def test_children_work_and_train(name: str) -> None:
    make, shape = NETS[name]
    model = make()
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model(x)
    before = sum(p.numel() for p in model.parameters())
    plan = energy_ranks(model)(0.2)
    saved = sum(
        weights_at(layer, 0, unfolding_of(layer)) - weights_at(layer, plan.ranks.get(path, 0), unfolding_of(layer))
        for path, layer in factorable(model).items()
    )
    child = factorise(model, plan.ranks)
    assert set(low_rank_layers(child)) == set(plan.ranks) != set()
    assert sum(p.numel() for p in child.parameters()) == before - saved < 0.7 * before
    assert child(x).shape == outputs.shape
    with torch.no_grad():
        assert torch.equal(model(x), outputs), "the original is left alone"
    # One step of training moves every factor
    factors = [p for pair in low_rank_layers(child).values() for p in pair.parameters() if p.dim() > 1]
    start = [p.detach().clone() for p in factors]
    child.train()
    optimiser = torch.optim.SGD(child.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(child(x), torch.tensor([0, 1])).backward()
    optimiser.step()
    assert all(not torch.equal(a, b) for a, b in zip(factors, start, strict=True))
    assert all(torch.isfinite(p).all() for p in child.parameters())


@pytest.mark.parametrize("name", NETS)
def test_full_rank_pairs_keep_the_function(name: str) -> None:
    make, shape = NETS[name]
    model = make()
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model(x)
        layers = [layer for layer in thin_layers(model) if kernel_shape(model.get_submodule(layer)).numel() < 1e6]
        assert max(rebuilt(model, layers).values()) < 1e-5
        assert torch.allclose(model(x), outputs, atol=1e-5 * float(outputs.abs().max().clamp_min(1)))


def test_depthwise_convolutions_are_skipped() -> None:
    model = foreign("torchvision", "mobilenet_v2", num_classes=5, width_mult=0.25)
    depthwise = {name for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert depthwise == {name for name, why in left_out(model).items() if "groups" in why}
    assert depthwise.isdisjoint(thin_layers(model))
    assert any(isinstance(model.get_submodule(name), nn.Conv2d) for name in thin_layers(model))


def test_vit_b_16_is_cut_in_its_mlp_and_never_behind_attention() -> None:
    """Its width and heads, one block of twelve and small images; torch's attention reads its projection's weights."""
    vit = foreign_package("torchvision").VisionTransformer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = vit(32, 16, num_layers=1, num_heads=12, hidden_dim=768, mlp_dim=3072, num_classes=5).eval()
    torch.nn.init.normal_(model.heads.head.weight, generator=torch.Generator().manual_seed(0))  # zeros by default
    assert "encoder.layers.encoder_layer_0.self_attention.out_proj" in left_out(model)
    block = "encoder.layers.encoder_layer_0.mlp"
    assert [name for name in thin_layers(model) if name.startswith(block)] == [f"{block}.0", f"{block}.3"]
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    moments = input_moments(model, [f"{block}.0"], x, batch_size=2)
    child = factorise(model, {f"{block}.0": 16, f"{block}.3": 16, "conv_proj": 8}, moments=moments)
    assert child(x).shape == (2, 5)
    pair = child.get_submodule(f"{block}.0")
    assert full_rank(pair, unfolding_of(pair)) == 16
    torch.nn.functional.cross_entropy(child.train()(x), torch.tensor([0, 1])).backward()
    assert pair.first.weight.grad is not None
    assert pair.first.weight.grad.abs().max() > 0


def test_data_aware_children_of_a_resnet_keep_more_of_its_outputs() -> None:
    model = foreign("torchvision", "resnet18", num_classes=5)
    x = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names = ["layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1"]
    plain = factorise(model, dict.fromkeys(names, 12))
    aware = factorise(model, dict.fromkeys(names, 12), moments=input_moments(model, names, x, batch_size=8))
    with torch.no_grad():
        assert (aware(x) - model(x)).norm() < 0.8 * (plain(x) - model(x)).norm()

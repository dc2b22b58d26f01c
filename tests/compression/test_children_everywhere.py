"""Children of zoo, torchvision and timm nets, whole: shapes, size, a file that loads, ONNX, and a step of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from brittle.compression.cost import parameters
from brittle.compression.methods import compress_to
from brittle.compression.protocols import Evidence
from brittle.models.export.onnx import export_onnx
from brittle.models.file import load, save
from brittle.models.load import load_model
from tests.vision import need_timm, need_torchvision

CLASSES, KEEP = 7, 0.4
SMALL = {
    "zoo:mlp?width=64&depth=3": (1, 8, 8),
    "zoo:cnn?channels=16,32&fc=48": (1, 16, 16),
    "zoo:resnet?depth=20": (3, 16, 16),
}
LARGE = {
    "torchvision:resnet18": (3, 64, 64),
    "torchvision:mobilenet_v2": (3, 64, 64),
    "torchvision:vit_b_16": (3, 224, 224),
    "timm:vit_tiny_patch16_224": (3, 224, 224),
}
METHODS = ("l2", "svd-data")


def parent_of(spec: str, shape: tuple[int, ...]) -> nn.Module:
    if spec.startswith("torchvision:"):
        need_torchvision()
    if spec.startswith("timm:"):
        need_timm()
    model = load_model(spec, input_shape=shape, classes=CLASSES, seed=0).module.eval()
    generator = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and not bool(layer.weight.any()):  # torchvision's ViT starts with a zero head
            layer.weight.data.copy_(0.05 * torch.randn(layer.weight.shape, generator=generator))
    return model


def check_child(spec: str, shape: tuple[int, ...], method: str, folder: Path) -> None:
    parent = parent_of(spec, shape)
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(8, *shape, generator=generator), torch.arange(8) % CLASSES
    target = KEEP * parameters(parent)
    child = compress_to(parent, method, KEEP, Evidence(x, y, None, seed=0)).model
    assert abs(parameters(child) - target) <= 0.03 * target
    with torch.no_grad():
        logits = child(x)
    assert logits.shape == (8, CLASSES)
    assert torch.isfinite(logits).all()

    save(child, folder / "child.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(load(folder / "child.safetensors")(x), logits, rtol=1e-6, atol=1e-6)
    assert export_onnx(child, folder / "child.onnx", shape) <= 1e-4 * max(1.0, float(logits.abs().max()))

    child.train()
    optimiser = torch.optim.SGD(child.requires_grad_(True).parameters(), lr=1e-4)
    loss = nn.functional.cross_entropy(child(x), y)
    loss.backward()
    gradients = [p.grad for p in child.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
    silent = sum(not bool(g.any()) for g in gradients if g is not None)
    assert silent <= 0.02 * len(gradients), "everything learns"
    optimiser.step()
    assert all(bool(torch.isfinite(p).all()) for p in child.parameters())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spec", SMALL)
def test_children_of_the_zoo(spec: str, method: str, tmp_path: Path) -> None:
    check_child(spec, SMALL[spec], method, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spec", LARGE)
def test_children_of_torchvision_and_timm(spec: str, method: str, tmp_path: Path) -> None:
    check_child(spec, LARGE[spec], method, tmp_path)

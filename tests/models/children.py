"""Networks and children of theirs, made smaller by hand: each module is cut with plain indexing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.models.attention import SelfAttention
from brittle.models.blocks import PadShortcut
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.models.load import load_model
from brittle.models.recipe import build, parse_zoo
from brittle.models.tucker import TuckerConv2d, TuckerLinear
from brittle.models.vit_blocks import Positions
from tests.vision import need_timm, need_torchvision


@dataclass(frozen=True)
class Case:
    """A parent by its MODEL string, what is cut, and the edits (path, kind) that must be found."""

    spec: str
    shape: tuple[int, ...]
    cut: Callable[[nn.Module], None]
    edits: tuple[tuple[str, str], ...]

    def parent(self) -> nn.Module:
        """In eval mode, with batch norm statistics that matter."""
        if self.spec.startswith("torchvision:"):
            need_torchvision()
        if self.spec.startswith("timm:"):
            need_timm()
        if self.spec.startswith("zoo:"):
            model = build(parse_zoo(self.spec, self.shape, 5), seed=1)
        else:
            model = load_model(self.spec, input_shape=self.shape, classes=5, seed=1).module
        generator = torch.Generator().manual_seed(2)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                    tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        return model

    def child(self, parent: nn.Module) -> nn.Module:
        """A copy, cut."""
        child = copy.deepcopy(parent)
        with torch.no_grad():
            self.cut(child)
        return child


def rows(module: nn.Module, kept: list[int] | range) -> None:
    """Keep these outputs of a layer, or channels of a norm or of a depthwise convolution."""
    index = torch.tensor(list(kept))
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(module, name, None)
        if isinstance(tensor, Tensor):
            new = tensor.data[index].clone()
            setattr(module, name, nn.Parameter(new) if isinstance(tensor, nn.Parameter) else new)
    if isinstance(module, nn.Linear):
        module.out_features = len(index)
    if isinstance(module, nn.Conv2d):
        module.out_channels = len(index)
        if module.groups > 1:
            module.in_channels = module.groups = len(index)
    if isinstance(module, nn.BatchNorm2d):
        module.num_features = len(index)
    if isinstance(module, nn.LayerNorm):
        module.normalized_shape = (len(index),)


def columns(module: nn.Module, kept: list[int] | range) -> None:
    """Keep these inputs of a layer."""
    assert isinstance(module, nn.Linear | nn.Conv2d)
    module.weight = nn.Parameter(module.weight.data[:, list(kept)].clone())
    if isinstance(module, nn.Linear):
        module.in_features = len(kept)
    else:
        module.in_channels = len(kept)


def _mlp(model: nn.Module) -> None:
    rows(model.fc1, [0, 2, 5])
    columns(model.fc2, [0, 2, 5])
    model.fc2 = LowRankLinear.from_linear(model.fc2, 2)


def _cnn(model: nn.Module) -> None:
    rows(model.conv1, [1, 2, 3])
    columns(model.conv2, [1, 2, 3])
    rows(model.conv2, range(4))
    columns(model.fc1, range(4 * 4))  # channel i holds the features 4 i .. 4 i + 3
    model.conv2 = LowRankConv2dIn(3, 4, 4, 2, stride=2, padding=1)


def _cnn_nested(model: nn.Module) -> None:
    """Channels go first, then what reads them is nested."""
    rows(model.conv1, [1, 2, 3])
    model.conv2 = TuckerConv2d(3, 6, 4, 2, 5, stride=2, padding=1)
    model.fc1 = TuckerLinear(6, 4, 7, channels=5, positions=2, rank=3)


def _cnn_norm(model: nn.Module) -> None:
    inner = model.model
    for layer in (inner.conv1, inner.bn1):
        rows(layer, [0, 3])
    columns(inner.conv2, [0, 3])
    inner.conv2 = LowRankConv2d.from_conv(inner.conv2, 3)


def _resnet(model: nn.Module) -> None:
    block = model.layer2[0]
    for layer in (block.conv1, block.bn1):
        rows(layer, [1, 4, 5])
    columns(block.conv2, [1, 4, 5])
    # The first channels of the last stage go; the shortcut filled two of them with zeros
    last = model.layer3[0]
    assert isinstance(last.shortcut, PadShortcut)
    for layer in (last.conv2, last.bn2):
        rows(layer, range(2, 16))
    columns(model.head, range(2, 16))
    last.shortcut.before -= 2


def _vit(model: nn.Module) -> None:
    attention = model.block1.attention
    for layer in (attention.q, attention.k, attention.v):
        rows(layer, range(3, 6))
    columns(attention.proj, range(3, 6))
    attention.heads = 1
    rows(model.block1.fc1, range(5))
    columns(model.block1.fc2, range(5))


def _vit_width(model: nn.Module) -> None:
    """Two coordinates of every token go."""
    kept = [0, 1, 3, 5]
    rows(model.embed, kept)
    assert isinstance(model.positions, Positions)
    model.positions.weight = nn.Parameter(model.positions.weight.data[:, kept].clone())
    block = model.block1
    for norm in (block.norm1, block.norm2, model.norm):
        rows(norm, kept)
    for layer in (block.attention.q, block.attention.k, block.attention.v, block.fc1, model.head):
        columns(layer, kept)
    for layer in (block.attention.proj, block.fc2):
        rows(layer, kept)


def _resnet18(model: nn.Module) -> None:
    block = model.model.layer1[0]
    for layer in (block.conv1, block.bn1):
        rows(layer, range(0, 64, 8))
    columns(block.conv2, range(0, 64, 8))
    model.model.layer4[1].conv2 = LowRankConv2d.from_conv(model.model.layer4[1].conv2, 4)


def _mobilenet(model: nn.Module) -> None:
    """A hidden width of an inverted residual: 1 x 1, depthwise, 1 x 1."""
    layers = model.model.features[3].conv
    for layer in (layers[0][0], layers[0][1], layers[1][0], layers[1][1]):
        rows(layer, range(0, 144, 4))
    columns(layers[2], range(0, 144, 4))


def _vit_b(model: nn.Module) -> None:
    for block in model.model.encoder.layers:
        attention = SelfAttention.from_multihead(block.self_attention)
        for layer in (attention.q, attention.k, attention.v):
            rows(layer, range(64))
        columns(attention.proj, range(64))
        attention.heads = 1
        block.self_attention = attention
        rows(block.mlp[0], range(16))
        columns(block.mlp[3], range(16))
    first = model.model.encoder.layers[0].self_attention
    first.q = LowRankLinear.from_linear(first.q, 2)


def _vit_tiny(model: nn.Module) -> None:
    block = model.model.blocks[0]
    rows(block.attn.qkv, [part * 192 + i for part in range(3) for i in range(64, 192)])
    columns(block.attn.proj, range(64, 192))
    block.attn.num_heads, block.attn.attn_dim = 2, 128
    rows(block.mlp.fc1, range(100))
    columns(block.mlp.fc2, range(100))


def _norm_changes(prefix: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{prefix}.{name}", "batch_norm" if "bn" in name else "conv2d") for name in names)


_INVERTED = "model.features.3.conv"
_VIT_B = "model.encoder.layers.encoder_layer_"

CASES: dict[str, Case] = {
    "mlp": Case("zoo:mlp?width=8", (1, 4, 4), _mlp, (("fc1", "linear"), ("fc2", "low_rank_linear"))),
    "cnn": Case(
        "zoo:cnn?channels=4,6&fc=7",
        (1, 8, 8),
        _cnn,
        (("conv1", "conv2d"), ("conv2", "low_rank_conv2d_in"), ("fc1", "linear")),
    ),
    "cnn, nested": Case(
        "zoo:cnn?channels=4,6&fc=7",
        (1, 8, 8),
        _cnn_nested,
        (("conv1", "conv2d"), ("conv2", "tucker_conv2d"), ("fc1", "tucker_linear")),
    ),
    "cnn, batch norm": Case(
        "zoo:cnn?channels=4,6&fc=none&batch_norm=true&mean=0.4&std=0.2",
        (3, 8, 8),
        _cnn_norm,
        (("model.conv1", "conv2d"), ("model.bn1", "batch_norm"), ("model.conv2", "low_rank_conv2d")),
    ),
    "resnet": Case(
        "zoo:resnet?depth=8&width=4",
        (3, 8, 8),
        _resnet,
        (
            *_norm_changes("layer2.0", "conv1", "bn1", "conv2"),
            *_norm_changes("layer3.0", "conv2", "bn2"),
            ("layer3.0.shortcut", "pad_shortcut"),
            ("head", "linear"),
        ),
    ),
    "vit": Case(
        "zoo:vit?patch=4&dim=6&depth=2&heads=2",
        (1, 8, 8),
        _vit,
        (
            ("block1.attention", "attention"),
            *((f"block1.attention.{name}", "linear") for name in ("q", "k", "v", "proj")),
            *((f"block1.{name}", "linear") for name in ("fc1", "fc2")),
        ),
    ),
    "vit, narrower": Case(
        "zoo:vit?patch=4&dim=6&depth=1&heads=2&pooling=class",
        (1, 8, 8),
        _vit_width,
        (
            ("embed", "conv2d"),
            ("positions", "positions"),
            *((f"block1.{name}", "layer_norm") for name in ("norm1", "norm2")),
            *((f"block1.attention.{name}", "linear") for name in ("q", "k", "v", "proj")),
            *((f"block1.{name}", "linear") for name in ("fc1", "fc2")),
            ("norm", "layer_norm"),
            ("head", "linear"),
        ),
    ),
    "resnet18": Case(
        "torchvision:resnet18",
        (3, 32, 32),
        _resnet18,
        (*_norm_changes("model.layer1.0", "conv1", "bn1", "conv2"), ("model.layer4.1.conv2", "low_rank_conv2d")),
    ),
    "mobilenet_v2": Case(
        "torchvision:mobilenet_v2",
        (3, 32, 32),
        _mobilenet,
        tuple(
            (f"{_INVERTED}.{name}", "batch_norm" if name.endswith(".1") else "conv2d")
            for name in ("0.0", "0.1", "1.0", "1.1", "2")
        ),
    ),
    "vit_b_16": Case(
        "torchvision:vit_b_16",
        (3, 224, 224),
        _vit_b,
        tuple(
            entry
            for i in range(12)
            for entry in (
                (f"{_VIT_B}{i}.self_attention", "self_attention"),
                *([(f"{_VIT_B}{i}.self_attention.q", "low_rank_linear")] if i == 0 else []),
                (f"{_VIT_B}{i}.mlp.0", "linear"),
                (f"{_VIT_B}{i}.mlp.3", "linear"),
            )
        ),
    ),
    "vit_tiny": Case(
        "timm:vit_tiny_patch16_224",
        (3, 224, 224),
        _vit_tiny,
        (
            ("model.blocks.0.attn", "timm_attention"),
            *((f"model.blocks.0.{name}", "linear") for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
        ),
    ),
}

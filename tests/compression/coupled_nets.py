"""Small networks of every kind that couplings must be right on, found once, and a parent that ignores units."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.couplings.find import couplings
from brittle.models.recipe import Recipe, build
from tests.compression.foreign_nets import foreign


class Wired(nn.Module):
    """Layers by name, and a forward pass that is a function of them."""

    def __init__(self, forward: Callable[[nn.ModuleDict, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.layers, x)


def conv(inputs: int, outputs: int, **more: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _concat(n: nn.ModuleDict, x: Tensor) -> Tensor:
    joined = torch.cat([n["a"](x).relu(), n["b"](x).relu()], 1)
    return n["head"](_mean(n["c"](n["norm"](joined)).relu()))


def _grouped(n: nn.ModuleDict, x: Tensor) -> Tensor:
    return n["head"](_mean(n["c"](n["b"](n["a"](x).relu()).relu()).relu()))


def _gated(n: nn.ModuleDict, x: Tensor) -> Tensor:
    left, right = n["a"](x).chunk(2, 1)
    return n["head"](_mean(n["b"](left * right.sigmoid()).relu()))


def _into_pixels(n: nn.ModuleDict, x: Tensor) -> Tensor:
    return n["head"](_mean(n["b"](x + n["a"](x).relu()).relu()))


def _slopes(n: nn.ModuleDict, x: Tensor) -> Tensor:
    return n["head"](n["one"](n["b"](n["slopes"](n["a"](x.flatten(1))))))


def _zoo(architecture: str, shape: tuple[int, ...], **options: object) -> Callable[[], nn.Module]:
    return lambda: build(Recipe(architecture, shape, 5, dict(options)), seed=1)


def _wired(
    forward: Callable[[nn.ModuleDict, Tensor], Tensor], **layers: Callable[[], nn.Module]
) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            return Wired(forward, **{name: layer() for name, layer in layers.items()}).eval()

    return make


def _linear(inputs: int, outputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(inputs, outputs)


_FOREIGN_VIT = {"image_size": 16, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 24}
_RANKS = [0, 4, 5, 0]

# Name -> how it is made, the shape of one input, and the names of the couplings it must have.
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "mlp": (_zoo("mlp", (1, 4, 4), widths=[12, 9]), (1, 4, 4), ["fc1", "fc2"]),
    "mlp, normalised": (
        lambda: build(Recipe("mlp", (1, 4, 4), 5, {"widths": [7], "bias": False}, (0.5,), (0.3,)), seed=1),
        (1, 4, 4),
        ["model.fc1"],
    ),
    "cnn": (_zoo("cnn", (1, 12, 12), channels=[6, 8], fc=[10]), (1, 12, 12), ["conv1", "conv2", "fc1"]),
    "cnn, norms and pools": (
        _zoo("cnn", (2, 12, 12), channels=[6, 8], fc=[], kernel=3, stride=1, pool=2, batch_norm=True),
        (2, 12, 12),
        ["conv1", "conv2"],
    ),
    "cnn, low rank": (
        _zoo("cnn", (1, 12, 12), channels=[6, 8], fc=[10], ranks=_RANKS),
        (1, 12, 12),
        ["conv1", "conv2.second", "fc1.second"],
    ),
    "resnet, padded": (
        _zoo("resnet", (3, 8, 8), depth=8, width=4),
        (3, 8, 8),
        ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1"],
    ),
    "resnet, projected": (
        _zoo("resnet", (3, 8, 8), depth=8, width=4, shortcut="conv"),
        (3, 8, 8),
        ["conv1", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv1", "layer3.0.conv2"],
    ),
    "resnet_b": (
        _zoo("resnet_b", (3, 16, 16)),
        (3, 16, 16),
        ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "fc1"],
    ),
    "vit": (
        _zoo("vit", (3, 8, 8), dim=12, depth=2, heads=3),
        (3, 8, 8),
        ["block1.attention", "block1.fc1", "block2.attention", "block2.fc1"],
    ),
    "vit, low rank": (
        _zoo("vit", (3, 8, 8), dim=12, depth=1, heads=3, ranks=[0, 4, 0, 5, 3, 6, 0, 0]),
        (3, 8, 8),
        ["block1.attention", "block1.fc1.second"],
    ),
    "concat": (
        _wired(
            _concat,
            a=lambda: conv(3, 4),
            b=lambda: conv(3, 6),
            norm=lambda: nn.BatchNorm2d(10),
            c=lambda: conv(10, 5),
            head=_linear(5, 4),
        ),
        (3, 6, 6),
        ["layers.a", "layers.b", "layers.c"],
    ),
    "groups": (
        _wired(
            _grouped, a=lambda: conv(3, 8), b=lambda: conv(8, 12, groups=4), c=lambda: conv(12, 5), head=_linear(5, 4)
        ),
        (3, 6, 6),
        ["layers.a", "layers.c"],
    ),
    "depthwise": (
        _wired(
            _grouped, a=lambda: conv(3, 6), b=lambda: conv(6, 6, groups=6), c=lambda: conv(6, 5), head=_linear(5, 4)
        ),
        (3, 6, 6),
        ["layers.a", "layers.c"],
    ),
    "depthwise, doubling": (
        _wired(
            _grouped, a=lambda: conv(3, 6), b=lambda: conv(6, 12, groups=6), c=lambda: conv(12, 5), head=_linear(5, 4)
        ),
        (3, 6, 6),
        ["layers.a", "layers.c"],
    ),
    "gated": (
        _wired(_gated, a=lambda: conv(3, 8), b=lambda: conv(4, 5), head=_linear(5, 4)),
        (3, 6, 6),
        ["layers.a", "layers.b"],
    ),
    "added to pixels": (
        _wired(_into_pixels, a=lambda: conv(3, 3), b=lambda: conv(3, 5), head=_linear(5, 4)),
        (3, 6, 6),
        ["layers.b"],
    ),
    "slopes": (
        _wired(
            _slopes,
            a=_linear(8, 6),
            slopes=lambda: nn.PReLU(6),
            b=_linear(6, 5),
            one=lambda: nn.PReLU(),
            head=_linear(5, 4),
        ),
        (8,),
        ["layers.a", "layers.b"],
    ),
    "torchvision resnet18": (
        lambda: foreign("torchvision", "resnet18", num_classes=5),
        (3, 32, 32),
        [
            "conv1",
            "layer1.0.conv1",
            "layer1.1.conv1",
            *(f"layer{i}.{part}" for i in (2, 3, 4) for part in ("0.conv1", "0.conv2", "1.conv1")),
        ],
    ),
    "torchvision mobilenet_v2": (
        lambda: foreign("torchvision", "mobilenet_v2", num_classes=5, width_mult=0.25),
        (3, 32, 32),
        [],
    ),
    "torchvision vit": (
        lambda: _foreign_vit(),
        (3, 16, 16),
        [f"encoder.layers.encoder_layer_{i}.{part}" for i in (0, 1) for part in ("self_attention", "mlp.0")],
    ),
    "timm vit_tiny": (
        lambda: foreign("timm", "vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5),
        (3, 32, 32),
        [f"blocks.{i}.{part}" for i in (0, 1) for part in ("attn", "mlp.fc1")],
    ),
}
SMALL = [name for name in NETS if not name.startswith(("torchvision", "timm"))]


def _foreign_vit() -> nn.Module:
    foreign("torchvision", "resnet18")  # skips where torchvision is absent, and makes it importable
    from torchvision.models import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(**_FOREIGN_VIT, num_classes=5).eval()
        nn.init.normal_(model.heads.head.weight)  # it starts at zero
    return model


@dataclass(frozen=True, eq=False)
class Case:
    """A network with its couplings; tests copy the network before they change it."""

    model: nn.Module
    shape: tuple[int, ...]
    couplings: tuple[Coupling, ...]

    def pixels(self, count: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(count, *self.shape, generator=generator, dtype=torch.float64)


@cache
def case(name: str) -> Case:
    """The network `name` in float64 with its couplings, made once."""
    make, shape, _ = NETS[name]
    model = make().double().eval()
    return Case(model, shape, couplings(model, torch.rand(2, *shape)))


def random_kept(found: Sequence[Coupling], seed: int) -> dict[str, list[int]]:
    """Some units of each coupling, at least one and never all."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for coupling in found:
        count = int(torch.randint(1, coupling.units, (), generator=generator))
        kept[coupling.name] = torch.randperm(coupling.units, generator=generator)[:count].tolist()
    return kept


def ignoring(model: nn.Module, found: Sequence[Coupling], kept: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy, shapes as they were, in which the weights that read units outside `kept` are zero, one by one."""
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for coupling in found:
            for unit in range(coupling.units):
                if unit in kept.get(coupling.name, range(coupling.units)):
                    continue
                for member in coupling.members:
                    if member.side == "in":
                        weight = masked.get_submodule(member.module).weight
                        for position in member.index[unit]:
                            weight[:, position] = 0
    return masked

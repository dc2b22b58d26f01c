"""Networks that between them use every operator `brittle` reads; each is (a function that makes it, input shape)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.models.pixels import Pixels
from brittle.models.recipe import Recipe, build
from brittle.operators import handlers, reader
from brittle.operators.graph import Graph
from brittle.operators.network import Network, read_network
from brittle.operators.program import Handler, Program, Reading

Made = tuple[Callable[[], nn.Module], tuple[int, ...]]


class Step(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """All parameters and batch norm statistics drawn at random (variances positive), in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or name in ("mean", "std"):
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            scale = 1.5 / max(1.0, tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.5
            tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise * scale)
    return model.eval()


def zoo(name: str, shape: tuple[int, ...], **options: object) -> Made:
    return lambda: settled(build(Recipe(name, shape, 5, options), seed=0)), shape


def between(*steps: nn.Module | Callable[[Tensor], Tensor]) -> Made:
    """The steps between a convolution of (2, 6, 7) images to 4 channels and a linear head."""

    def make() -> nn.Module:
        middle = [copy.deepcopy(s) if isinstance(s, nn.Module) else Step(s) for s in steps]
        body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *middle, nn.Flatten())
        width = body.eval()(torch.zeros(2, 2, 6, 7)).shape[1]
        return settled(nn.Sequential(body, nn.Linear(width, 3)))

    return make, (2, 6, 7)


def flat(*steps: nn.Module | Callable[[Tensor], Tensor], head: int = 6) -> Made:
    """The steps between a linear layer 5 -> 6 and a linear head."""

    def make() -> nn.Module:
        middle = [copy.deepcopy(s) if isinstance(s, nn.Module) else Step(s) for s in steps]
        return settled(nn.Sequential(nn.Linear(5, 6), *middle, nn.Linear(head, 3)))

    return make, (5,)


class Residual(nn.Module):
    """`bn(x + f(x))`, then in-place steps whose input is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)
        self.head = nn.Linear(2 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        F.relu_(y)
        y += self.conv2(y)
        z = self.bn(y + x)
        return self.head((z - 0.5 * F.relu(z)).flatten(1))


class Shared(nn.Module):
    """One linear layer used twice, two weights without a module of their own, tied and computed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.w1, self.w2 = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 3))
        self.a, self.b = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.fc.weight
        self.shift = nn.Parameter(torch.ones(4))
        self.idle = nn.Parameter(torch.ones(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(F.relu(self.fc(x)))
        x = F.relu(F.linear(x, self.w1)) + self.shift
        x = F.relu(F.linear(F.relu(F.linear(x, self.a * 2)), self.b * 3))
        return self.tied(x) @ self.w2


class TwoHeads(nn.Module):
    """Two heads whose results are added; the body is read by both."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.left, self.right = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.body(x))
        return self.left(h) - 2 * self.right(h.neg())


def padded(mode: str, **options: object) -> Made:
    def make() -> nn.Module:
        conv = nn.Conv2d(2, 3, 3, padding_mode=mode, **options)  # type: ignore[arg-type]
        width = conv(torch.zeros(1, 2, 6, 7)).numel()
        return settled(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(width, 3)))

    return make, (2, 6, 7)


def low_rank_images(mode: str = "zeros", pair: Callable[..., nn.Module] = LowRankConv2d) -> Made:
    def make() -> nn.Module:
        conv = pair(2, 4, 3, 2, padding=1, padding_mode=mode)
        layers = [conv, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), LowRankLinear(4 * 42, 6, 2)]
        return settled(nn.Sequential(*layers, nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)))

    return make, (2, 6, 7)


def one_dimensional() -> nn.Module:
    convs = [nn.Conv1d(2, 4, 3, padding="same", dilation=2), nn.BatchNorm1d(4), nn.ReLU()]
    pools = [nn.AvgPool1d(2), nn.Conv1d(4, 3, 2, stride=2, groups=1), nn.AdaptiveAvgPool1d(2), nn.Flatten()]
    return settled(nn.Sequential(*convs, *pools, nn.Linear(6, 3)))


def tokens() -> nn.Module:
    return settled(
        nn.Sequential(
            nn.Linear(5, 4), nn.ReLU(), LowRankLinear(4, 4, 2), Step(lambda x: x * torch.arange(1.0, 5.0).to(x)),
            nn.GELU(), Step(lambda x: x.mean(1)), nn.Linear(4, 3),
        )
    )  # fmt: skip


def normalised() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return settled(Pixels((0.4, 0.5, 0.6), (0.2, 0.3, 0.1), body))


aten = torch.ops.aten

NETS: dict[str, Made] = {
    "zoo mlp": zoo("mlp", (1, 4, 4), width=7, depth=2),
    "zoo mlp, low-rank": zoo("mlp", (1, 4, 4), width=7, depth=2, ranks=(3, 2, 2)),
    "zoo linear": zoo("mlp", (4,), depth=0),
    "zoo cnn": zoo("cnn", (2, 8, 8), channels=(3, 4), kernel=3, stride=1, batch_norm=True, pool=2, fc=(6,)),
    "zoo cnn, low-rank": zoo("cnn", (2, 8, 8), channels=(3, 4), ranks=2, batch_norm=True, activation="gelu"),
    "zoo resnet": zoo("resnet", (2, 8, 8), depth=8, width=2),
    "zoo resnet_b": zoo("resnet_b", (2, 8, 8), stem=4, channels=(6,), blocks=2, fc=(7,)),
    "pixels": (normalised, (3, 6, 6)),
    "low-rank": low_rank_images(),
    "low-rank, reflect": low_rank_images("reflect"),
    "low-rank, 1 x 1 first": low_rank_images(pair=LowRankConv2dIn),
    "low-rank, 1 x 1 first, reflect": low_rank_images("reflect", LowRankConv2dIn),
    "one-dimensional": (one_dimensional, (2, 9)),
    "tokens": (tokens, (3, 5)),
    "residual": (lambda: settled(Residual()), (2, 6, 6)),
    "shared": (lambda: settled(Shared()), (4,)),
    "two heads": (lambda: settled(TwoHeads()), (5,)),
    "circular": padded("circular", padding=2, stride=2),
    "reflect": padded("reflect", padding=(1, 2), dilation=2),
    "replicate": padded("replicate", padding="same"),
    "same, even kernel": (
        lambda: settled(nn.Sequential(nn.Conv2d(2, 3, (2, 4), padding="same"), nn.Flatten(), nn.Linear(126, 3))),
        (2, 6, 7),
    ),
    "zero pad, grouped conv": between(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.ReLU()),
    "pads that stay": between(lambda x: F.pad(x, (1, 2, 0, 1)), nn.ReLU(), lambda x: F.pad(x, (0, 0, 0, 0, 1, 2))),
    "pad of channels, then conv": between(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)), nn.Conv2d(7, 2, 3)),
    "crop, then conv": between(lambda x: F.pad(x, (-1, 1)), nn.Conv2d(4, 2, 3)),
    "circular pad, then padded conv": between(nn.CircularPad2d(1), nn.Conv2d(4, 2, 3, padding=1)),
    "valid": between(lambda x: F.conv2d(x, torch.ones(2, 4, 2, 2).to(x), padding="valid")),
    "max pool": between(nn.ReLU(), nn.MaxPool2d(3, 2, padding=1, dilation=2, ceil_mode=True)),
    "max pool, defaults": between(nn.MaxPool2d((2, 3))),
    "avg pool": between(nn.AvgPool2d((3, 2), 2, padding=1, ceil_mode=True, count_include_pad=False), nn.ReLU()),
    "avg pool, defaults": between(nn.ReLU(), nn.AvgPool2d(2)),
    "adaptive": between(nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3))),
    "global mean": between(nn.ReLU(), lambda x: x.mean((2, 3), keepdim=True)),
    "slice, permute, transpose": between(lambda x: x[:, 1:, ::2].permute(0, 3, 1, 2), lambda x: x.transpose(1, 3)),
    "select, narrow": between(lambda x: x.select(2, 1), lambda x: x.narrow(1, 1, 2)),
    "views": between(
        lambda x: x.view(x.shape[0], 4, -1).unsqueeze(1).squeeze(1).reshape(-1, 28, 6).unflatten(1, (4, 7)).contiguous()
    ),
    "aliases": between(
        lambda x: aten.alias(aten.contiguous(aten.clone(aten.detach(x)))),
        lambda x: aten._unsafe_view(x, [len(x), 12, 14]),
    ),
    "dropout": between(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.ReLU()),
    "sums": flat(lambda x: 1 - x, lambda x: torch.add(x, x, alpha=-0.3), lambda x: 2 + x - 0.1, lambda x: x - x.relu()),
    "constants": flat(lambda x: torch.sub(torch.ones(6).to(x), x, alpha=3) * 0.5 / torch.arange(1, 7), lambda x: -x),
    "bn without gain": flat(nn.BatchNorm1d(6, affine=False), nn.ReLU()),
    "bn after add": flat(lambda x: x + x.relu(), nn.BatchNorm1d(6), nn.ReLU()),
    "matrix product": flat(lambda x: x @ torch.ones(6, 4).to(x), head=4),
    "relu_": flat(nn.ReLU(inplace=True)),
    "relu6": flat(nn.ReLU6(inplace=True), lambda x: F.relu6(x)),
    "leaky": flat(nn.LeakyReLU(0.2, inplace=True), nn.LeakyReLU(1.5)),
    "elu": flat(nn.ELU(1.7), nn.CELU(0.6), nn.SELU()),
    "gelu": flat(nn.GELU(), nn.GELU(approximate="tanh")),
    "silu, mish": flat(nn.SiLU(inplace=True), nn.Mish()),
    "hard": flat(nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-0.2, 0.3)),
    "clamps": flat(lambda x: x.clamp(-1, 0.4), lambda x: x.clamp_min(-0.5), lambda x: x.clamp_max(0.3)),
    "saturating": flat(nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.LogSigmoid(), nn.Softshrink(0.1)),
    "waves": flat(torch.sin, torch.cos, torch.abs),
    "prelu": between(nn.PReLU(4)),
}  # fmt: skip

# Operators met by `read` so far.
MET: set[str] = set()


def _noting(kind: str, handler: Handler) -> Handler:
    def note(program: Program, node: fx.Node, name: str) -> Reading:
        MET.add(kind)
        return handler(program, node, name)

    return note


@cache
def read(name: str) -> Network:
    """A net of `NETS` as `brittle` reads it."""
    make, shape = NETS[name]
    with patch.object(reader, "OPERATORS", {k: _noting(k, h) for k, h in handlers.OPERATORS.items()}):
        return read_network(make(), shape)


def graph_of(name: str) -> Graph:
    graph = read(name).graph
    assert graph is not None
    return graph

"""The zoo's architectures against plain functional code, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from brittle.errors import ModelError
from brittle.models.activations import ACTIVATIONS, activation
from brittle.models.blocks import SHORTCUTS, BasicBlock, PadShortcut
from brittle.models.cnn import cnn
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.mlp import mlp
from brittle.models.resnet import resnet
from brittle.models.resnet_b import resnet_b
from brittle.models.vit import vit
from brittle.models.zoo import ZOO


def _x(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _kinds(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def test_mlp_is_its_formula() -> None:
    model = mlp((1, 3, 4), 5, widths=(7, 6), activation="tanh").double()
    x, p = _x(4, 1, 3, 4), dict(model.named_parameters())
    want = x.flatten(1)
    for name in ("fc1", "fc2"):
        want = (want @ p[f"{name}.weight"].T + p[f"{name}.bias"]).tanh()
    want = want @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(model(x), want)
    assert {k: tuple(v.shape) for k, v in p.items() if "weight" in k} == {
        "fc1.weight": (7, 12),
        "fc2.weight": (6, 7),
        "head.weight": (5, 6),
    }


def test_mlp_width_and_depth() -> None:
    model = mlp((10,), 3, width=8, depth=3, bias=False)
    assert [name for name, _ in model.named_parameters()] == ["fc1.weight", "fc2.weight", "fc3.weight", "head.weight"]
    assert _parameters(model) == 10 * 8 + 2 * 8 * 8 + 8 * 3
    assert [tuple(p.shape) for p in mlp((10,), 3, depth=0).parameters()] == [(3, 10), (3,)]
    assert [tuple(p.shape) for p in mlp((10,), 3, widths=4, bias=False).parameters()] == [(4, 10), (3, 4)]


def test_mlp_ranks() -> None:
    model = mlp((20,), 3, widths=(10, 4), ranks=(5, 0))
    assert _kinds(model, LowRankLinear) == ["fc1"]
    assert model.fc1.first.weight.shape == (5, 20)
    assert _kinds(mlp((20,), 3, widths=(10, 4), ranks=(5, 0, 2)), LowRankLinear) == ["fc1", "head"]
    # One number factorises the layers whose full rank is larger, never the head
    assert _kinds(mlp((20,), 6, widths=(10, 4), ranks=4), LowRankLinear) == ["fc1"]


def test_cnn_is_its_formula() -> None:
    model = cnn(
        (2, 13, 11), 4, channels=(3, 5), kernel=(4, 3), stride=(2, 1), padding=(1, 0), pool=(0, 2), fc=(6,)
    ).double()
    x, p = _x(3, 2, 13, 11), dict(model.named_parameters())
    want = functional.conv2d(x, p["conv1.weight"], p["conv1.bias"], stride=2, padding=1).relu()
    want = functional.max_pool2d(functional.conv2d(want, p["conv2.weight"], p["conv2.bias"]).relu(), 2)
    want = (want.flatten(1) @ p["fc1.weight"].T + p["fc1.bias"]).relu() @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(model(x), want)


def test_cnn_batch_norm() -> None:
    model = cnn((1, 8, 8), 2, channels=4, fc=None, batch_norm=True).double().eval()
    with torch.no_grad():
        for i, tensor in enumerate((model.bn1.weight, model.bn1.bias, model.bn1.running_mean, model.bn1.running_var)):
            tensor.copy_(torch.arange(1.0, 5.0, dtype=torch.float64) + i)
    assert model.conv1.bias is None
    x, bn = _x(2, 1, 8, 8), model.bn1
    z = functional.conv2d(x, model.conv1.weight, stride=2, padding=1)
    spread = [t[:, None, None] for t in (bn.weight, bn.bias, bn.running_mean, bn.running_var)]
    z = ((z - spread[2]) / (spread[3] + bn.eps).sqrt() * spread[0] + spread[1]).relu()
    torch.testing.assert_close(model(x), z.flatten(1) @ model.head.weight.T + model.head.bias)


def test_cnn_is_the_verified_networks_net() -> None:
    model = cnn((1, 28, 28), 10)
    assert [tuple(p.shape) for p in model.parameters() if p.dim() > 1] == [
        (16, 1, 4, 4),
        (32, 16, 4, 4),
        (100, 1568),
        (10, 100),
    ]


def test_cnn_ranks_run_over_convolutions_then_dense_layers() -> None:
    model = cnn((3, 16, 16), 5, channels=(8, 8), fc=(20,), ranks=(0, 3, 7))
    assert _kinds(model, LowRankConv2d) == ["conv2"]
    assert _kinds(model, LowRankLinear) == ["fc1"]
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 5)
    assert _kinds(cnn((3, 16, 16), 5, channels=(4, 8), fc=(20,), ranks=4), LowRankConv2d) == ["conv2"]


DROPPED: list[tuple[Callable[..., nn.Module], dict[str, object], list[str]]] = [
    # Inputs of each dense layer but the pixels
    (mlp, {"widths": (40, 30)}, ["drop1", "drop2"]),
    (cnn, {"channels": 4, "fc": (40,)}, ["drop1", "drop2"]),
    (cnn, {"channels": 4, "fc": None}, ["drop1"]),
]


@pytest.mark.parametrize(("function", "options", "places"), DROPPED)
def test_dropout(function: Callable[..., nn.Module], options: dict[str, object], places: list[str]) -> None:
    shape = (1, 8, 8)
    plain, drop = function(shape, 3, **options), function(shape, 3, **options, dropout=0.25)
    assert _kinds(plain, nn.Dropout) == []
    assert _kinds(drop, nn.Dropout) == places
    assert list(plain.state_dict()) == list(drop.state_dict())
    drop.load_state_dict(plain.state_dict())
    x = torch.rand(4, *shape)
    assert torch.equal(drop.eval()(x), plain.eval()(x))
    met: list[str] = []
    for name, module in drop.train().named_children():
        before = x
        with torch.random.fork_rng():
            torch.manual_seed(0)
            x = module(x)
        if name in places:
            met.append(name)
            kept = x != 0
            torch.testing.assert_close(x[kept], before[kept] / 0.75)
            assert 0 < float(((before != 0) & ~kept).sum() / (before != 0).sum()) < 0.5
    assert met == places


def test_pad_shortcut_subsamples_and_pads() -> None:
    x = _x(2, 3, 5, 4)
    y = PadShortcut(3, 8, 2)(x)
    assert y.shape == (2, 8, 3, 2)
    assert torch.equal(y[:, 2:5], x[:, :, ::2, ::2])
    assert y[:, :2].abs().sum() == y[:, 5:].abs().sum() == 0


@pytest.mark.parametrize("shortcut", list(SHORTCUTS))
@pytest.mark.parametrize("batch_norm", [False, True])
def test_block_is_its_formula(shortcut: str, batch_norm: bool) -> None:
    block = BasicBlock(3, 6, inner=4, stride=2, shortcut=shortcut, batch_norm=batch_norm, activation="relu")
    block = block.double().eval()
    x, conv = _x(2, 3, 7, 6), functional.conv2d

    def norm(z: Tensor) -> Tensor:
        # fresh running statistics are 0 and 1
        return z / (1 + 1e-5) ** 0.5 if batch_norm else z

    z = norm(conv(x, block.conv1.weight, block.conv1.bias, stride=2, padding=1)).relu()
    z = norm(conv(z, block.conv2.weight, block.conv2.bias, padding=1))
    if shortcut == "conv":
        z = z + norm(conv(x, block.shortcut[0].weight, block.shortcut[0].bias, stride=2))
    else:
        padded = torch.zeros_like(z)
        padded[:, 1:4] = x[:, :, ::2, ::2]
        z = z + padded
    torch.testing.assert_close(block(x), z.relu())
    assert (block.conv1.bias is None) == batch_norm


def test_block_that_keeps_the_shape_adds_its_input() -> None:
    block = BasicBlock(3, 3, inner=3, stride=1, shortcut="conv", batch_norm=False, activation="identity")
    with torch.no_grad():
        for p in block.parameters():
            p.zero_()
    x = torch.rand(1, 3, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)])
def test_resnet_sizes_of_the_paper(depth: int, parameters: int) -> None:
    """0.27, 0.46, 0.66 and 0.85 million in He et al., table 6; to the unit by hand with option A."""
    with torch.device("meta"):
        model = resnet((3, 32, 32), 10, depth=depth)
    n = (depth - 2) // 6
    convs = 27 * 16 + 9 * (2 * n * 16**2 + 16 * 32 + (2 * n - 1) * 32**2 + 32 * 64 + (2 * n - 1) * 64**2)
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    assert _parameters(model) == convs + norms + 650 == parameters


def test_resnet_halves_the_image_twice() -> None:
    model = resnet((3, 32, 32), 10, depth=14, width=2).eval()
    x = torch.rand(2, 3, 32, 32)
    shapes = []
    for name, module in model.named_children():
        x = module(x)
        if name.startswith("layer"):
            shapes.append(tuple(x.shape))
    assert shapes == [(2, 2, 32, 32), (2, 4, 16, 16), (2, 8, 8, 8)]


def test_resnet_narrow_wide_pruned_and_low_rank() -> None:
    x = torch.rand(2, 1, 9, 9)
    for options in (
        {"depth": 8, "width": 3},
        {"depth": 8, "width": 4, "shortcut": "conv", "batch_norm": False, "activation": "silu"},
        {"depth": 14, "width": 4, "inner": (1, 2, 3, 4, 5, 6)},
        {"depth": 8, "width": 4, "ranks": (0, 2, 3, 4, 5, 6, 7)},
    ):
        assert resnet((1, 9, 9), 5, **options).eval()(x).shape == (2, 5)
    model = resnet((1, 9, 9), 5, depth=14, width=4, inner=(1, 2, 3, 4, 5, 6))
    assert [model.get_submodule(f"layer{s}.{b}.conv1").out_channels for s in (1, 2, 3) for b in (0, 1)] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    low = resnet((1, 9, 9), 5, depth=8, width=4, ranks=(0, 2, 3, 4, 5, 6, 7))
    assert [low.get_submodule(n).first.out_channels for n in _kinds(low, LowRankConv2d)] == [2, 3, 4, 5, 6, 7]


def test_resnet_b_sides() -> None:
    model = resnet_b((3, 17, 32), 10, stem=4, channels=(5, 6), blocks=(1, 2), stride=(1, 3), fc=(7,))
    assert model(torch.rand(2, 3, 17, 32)).shape == (2, 10)
    # 17 -> 9 -> 9 -> 3 and 32 -> 16 -> 16 -> 6
    assert model.fc1.in_features == 6 * 3 * 6
    assert resnet_b((3, 8, 8), 2, fc=None).head.in_features == 16 * 2 * 2
    low = resnet_b((3, 8, 8), 2, ranks=(4, 0, 0, 5, 6, 7), channels=8)
    assert _kinds(low, LowRankConv2d) == ["conv1", "layer1.1.conv1", "layer1.1.conv2"]
    assert _kinds(low, LowRankLinear) == ["fc1"]


SMALL = {
    "mlp": {"widths": (5, 4), "ranks": (2, 0)},
    "cnn": {"channels": (4, 4), "pool": (2, 0), "fc": (6,), "batch_norm": True, "ranks": (0, 2, 0)},
    "resnet": {"depth": 8, "width": 2},
    "resnet_b": {"stem": 3, "channels": (4,), "fc": (5,)},
    "vit": {"dim": 6, "depth": 1, "heads": 2, "pooling": "class", "dropout": 0.1, "ranks": 4},
}


@pytest.mark.parametrize("name", list(ZOO))
def test_every_architecture_can_be_exported(name: str) -> None:
    """Bounds read models through torch.export: no control flow that depends on data."""
    model = ZOO[name]((3, 16, 16), 4, **SMALL[name]).double().eval()
    x = _x(3, 3, 16, 16)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x + 0.1), model(x + 0.1))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations(name: str) -> None:
    module = activation(name)
    x = torch.linspace(-2, 2, 9)
    before = x.clone()
    assert module(x).shape == x.shape
    assert torch.equal(x, before)  # nothing in place: hooks and gradients see what came in


BAD: list[tuple[Callable[..., nn.Module], tuple[int, ...], dict[str, object], str]] = [
    (mlp, (4,), {"width": 0}, "option width must be at least 1, got 0"),
    (mlp, (4,), {"widths": (3, -1)}, "option widths must be at least 1, got -1"),
    (mlp, (4,), {"depth": -1}, "option depth must be between 0 and"),
    (mlp, (4,), {"depth": 10**9}, "option depth must be between 0 and"),
    (mlp, (4,), {"dropout": 1.0}, r"option dropout is a share in \[0, 1\), got 1: 0 for none"),
    (mlp, (4,), {"dropout": float("nan")}, r"option dropout is a share in \[0, 1\), got nan"),
    (cnn, (1, 8, 8), {"dropout": -0.1}, r"option dropout is a share in \[0, 1\), got -0.1"),
    (mlp, (4,), {"activation": "cube"}, "unknown activation 'cube': expected one of relu"),
    (mlp, (4,), {"widths": (8,), "ranks": (5,)}, "option ranks must be between 0 and 4, got 5"),
    (
        mlp,
        (4,),
        {"widths": (8,), "ranks": (1, 1, 1)},
        "option ranks has 3 values: expected one number, or one for each of the 1",
    ),
    (mlp, (4,), {"widths": (8,), "ranks": 4}, r"4 is not below the full rank of any layer before the head \(4\)"),
    (mlp, (4,), {"widths": (8,), "ranks": 0}, "option ranks must be at least 1, got 0"),
    (mlp, (4,), {"depth": 0, "ranks": 2}, r"before the head \(none\)"),
    (cnn, (4,), {}, "cnn takes images"),
    (cnn, (1, 8, 8), {"channels": ()}, "option channels is empty"),
    (cnn, (1, 8, 8), {"kernel": (3,)}, "option kernel has 1 values for 2 layers: give one for all, or 2"),
    (cnn, (1, 8, 8), {"kernel": 0}, "option kernel must be at least 1, got 0"),
    (cnn, (1, 8, 8), {"stride": 0}, "option stride must be at least 1, got 0"),
    (cnn, (1, 8, 8), {"padding": -1}, "option padding must be at least 0, got -1"),
    (cnn, (1, 8, 8), {"pool": -2}, "option pool must be at least 0, got -2"),
    (cnn, (1, 8, 8), {"fc": (0,)}, "option fc must be at least 1, got 0"),
    (cnn, (1, 8, 8), {"channels": (4, 4, 4, 4)}, "conv4 leaves nothing of a 1x8x8 input"),
    (cnn, (1, 8, 8), {"pool": 8}, "conv1 leaves nothing of a 1x8x8 input"),
    (resnet, (3, 8, 8), {"depth": 21}, r"option depth must be 6n \+ 2 .* got 21"),
    (resnet, (3, 8, 8), {"depth": 2}, "option depth must be between 8 and"),
    (resnet, (3, 8, 8), {"width": 0}, "option width must be at least 1"),
    (resnet, (3, 8, 8), {"shortcut": "none"}, "unknown shortcut 'none': expected one of pad, conv"),
    (resnet, (3, 8, 8), {"inner": (1, 2)}, "option inner has 2 values for 9 layers"),
    (resnet, (3, 8, 8), {"inner": 0}, "option inner must be at least 1"),
    (resnet, (64,), {}, "a residual network takes images"),
    (resnet, (1, 8, 8), {"depth": 8, "ranks": (10, *[0] * 6)}, "option ranks must be between 0 and 9, got 10"),
    (cnn, (1, 8, 8), {"ranks": (0, 33, 0)}, "option ranks must be between 0 and 32, got 33"),
    (cnn, (1, 8, 8), {"ranks": -1}, "option ranks must be at least 1, got -1"),
    (vit, (64,), {}, "vit takes images"),
    (resnet_b, (3, 8, 8), {"stem": 0}, "option stem must be at least 1"),
    (resnet_b, (3, 8, 8), {"stem_stride": 0}, "option stem_stride must be at least 1"),
    (resnet_b, (3, 8, 8), {"channels": 0}, "option channels must be at least 1"),
    (resnet_b, (3, 8, 8), {"blocks": 0}, "option blocks must be between 1 and"),
    (resnet_b, (3, 8, 8), {"stride": 0}, "option stride must be at least 1"),
    (resnet_b, (3, 8, 8), {"fc": 0}, "option fc must be at least 1"),
    (
        resnet_b,
        (3, 8, 8),
        {"stem": 16, "channels": 4, "shortcut": "pad"},
        "shortcut pad cannot go from 16 to 4 channels",
    ),
]


@pytest.mark.parametrize(
    ("function", "shape", "options", "message"), BAD, ids=lambda v: getattr(v, "__name__", str(v))[:40]
)
def test_impossible_options(
    function: Callable[..., nn.Module], shape: tuple[int, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        function(shape, 3, **options)

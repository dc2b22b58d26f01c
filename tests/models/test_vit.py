"""The vision transformer against plain tensor code, its options, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.compression.factorise import factorise
from brittle.data.load import load_data
from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.recipe import Recipe, build, parse_zoo, recipe_of, skeleton
from brittle.models.vit import vit
from brittle.models.vit_blocks import POOLINGS, Positions, Tokens
from brittle.training.matrices import chosen_matrices, head_of, structure_matrices

SMALL: dict[str, Any] = {"patch": 2, "dim": 6, "depth": 2, "heads": 3, "mlp_ratio": 1.5}
INSIDE = ("attention.q", "attention.k", "attention.v", "attention.proj", "fc1", "fc2")


def _x(*shape: int, seed: int = 3) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _settled(model: nn.Module) -> nn.Module:
    """Float64, all parameters random, so that gains, shifts and biases show."""
    generator = torch.Generator().manual_seed(5)
    model = model.double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.5)
    return model


def _by_hand(p: dict[str, Tensor], x: Tensor, *, patch: int, depth: int, heads: int, pooling: str) -> Tensor:
    """Dosovitskiy et al. (2021), equations 1 to 4, sample by sample and head by head, without convolution."""

    def dense(name: str, z: Tensor) -> Tensor:
        return z @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name: str, z: Tensor) -> Tensor:
        centred = z - z.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / spread * p[f"{name}.weight"] + p[f"{name}.bias"]

    logits = []
    for image in x:
        rows, columns = (side // patch for side in image.shape[1:])
        cut = [
            image[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch].flatten()
            for i in range(rows)
            for j in range(columns)
        ]
        z = torch.stack(cut) @ p["embed.weight"].flatten(1).T + p["embed.bias"]
        if pooling == "class":
            z = torch.cat([torch.zeros_like(z[:1]), z])
        z = z + p["positions.weight"]
        for b in (f"block{i + 1}" for i in range(depth)):
            normed = norm(f"{b}.norm1", z)
            q, k, v = (dense(f"{b}.attention.{name}", normed) for name in "qkv")
            size = q.shape[1] // heads
            joined = []
            for h in range(heads):
                own = slice(h * size, (h + 1) * size)
                joined.append(((q[:, own] @ k[:, own].T / math.sqrt(size)).softmax(1)) @ v[:, own])
            z = z + dense(f"{b}.attention.proj", torch.cat(joined, 1))
            inside = dense(f"{b}.fc1", norm(f"{b}.norm2", z))
            z = z + dense(f"{b}.fc2", inside * 0.5 * (1 + torch.erf(inside / math.sqrt(2))))
        z = norm("norm", z)
        logits.append(dense("head", z[0] if pooling == "class" else z.mean(0)))
    return torch.stack(logits)


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_vit_is_its_formula(pooling: str) -> None:
    model = _settled(vit((2, 4, 6), 5, **SMALL, pooling=pooling))
    x, p = _x(3, 2, 4, 6), dict(model.named_parameters())
    assert p["positions.weight"].shape == (6 + (pooling == "class"), 6)
    want = _by_hand(p, x, patch=2, depth=2, heads=3, pooling=pooling)
    torch.testing.assert_close(model(x), want, rtol=1e-9, atol=1e-12)


def test_tokens_run_along_the_rows() -> None:
    x = _x(2, 3, 2, 4)
    assert torch.equal(Tokens()(x)[:, 5], x[:, :, 1, 1])


def test_an_extra_token_is_its_position() -> None:
    positions = Positions(3, 4, extra=1).double()
    x = _x(2, 3, 4)
    y = positions(x)
    assert torch.equal(y[:, 0], positions.weight[0].expand(2, 4))
    torch.testing.assert_close(y[:, 1:], x + positions.weight[1:])


@pytest.mark.parametrize(
    ("shape", "patch", "tokens"), [((1, 8, 8), 2, 16), ((1, 28, 28), 7, 16), ((3, 32, 32), 8, 16), ((2, 4, 12), 4, 3)]
)
def test_any_size_that_the_patch_divides(shape: tuple[int, ...], patch: int, tokens: int) -> None:
    model = vit(shape, 7, patch=patch, dim=8, depth=1, heads=2)
    assert model.positions.weight.shape == (tokens, 8)
    assert model(torch.rand(2, *shape)).shape == (2, 7)


def test_parameters_by_hand() -> None:
    with torch.device("meta"):
        model = vit((3, 32, 32), 10)
    block = 4 * (64 * 64 + 64) + (128 * 64 + 128) + (64 * 128 + 64) + 2 * 128
    want = (64 * 48 + 64) + 64 * 64 + 4 * block + 128 + 650
    assert sum(p.numel() for p in model.parameters()) == want


def test_layers_that_training_chooses() -> None:
    """Every matrix of the blocks, not the head, and not the patch embedding: it is the first convolution."""
    model = vit((1, 8, 8), 3, **SMALL)
    inside = [f"block{i}.{name}" for i in (1, 2) for name in INSIDE]
    assert [m.name for m in structure_matrices(model)] == ["embed", *inside, "head"]
    assert [m.name for m in chosen_matrices(model, None)] == inside
    assert head_of(model) is model.head
    low = vit((1, 8, 8), 3, **SMALL, ranks=(1, *[2] * 12, 0))
    assert [m.name for m in chosen_matrices(low, None)] == inside


def test_ranks_follow_the_layers() -> None:
    plan = (1, 2, 3, 4, 5, 6, 0, 0, 1, 2, 3, 4, 5)
    model = vit((1, 8, 8), 3, **SMALL, ranks=plan)
    found = []
    for matrix in structure_matrices(model):
        low = isinstance(matrix.module, LowRankLinear | LowRankConv2d)
        found.append(len(matrix.module.first.weight) if low else 0)
    assert tuple(found) == (*plan, 0)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    # One number: all but the head; the patches of 4 pixels have no larger rank than 4
    low = vit((1, 8, 8), 3, **SMALL, ranks=4)
    names = [name for name, module in low.named_modules() if isinstance(module, LowRankLinear | LowRankConv2d)]
    assert names == [f"block{i}.{name}" for i in (1, 2) for name in INSIDE]


def test_factorised_models_are_saved_with_their_ranks(tmp_path: Path) -> None:
    recipe = parse_zoo("zoo:vit?patch=2&dim=6&depth=1&heads=2&pooling=class&input=1x8x8&classes=3&mean=0.3&std=0.4")
    child = factorise(build(recipe, seed=1), {"model.embed": 2, "model.block1.attention.v": 2, "model.block1.fc2": 3})
    made = recipe_of(child)
    assert made is not None
    ranks = {edit.path: edit.sizes["rank"] for edit in made.edits}
    assert ranks == {"model.embed": 2, "model.block1.attention.v": 2, "model.block1.fc2": 3}
    save(child, tmp_path / "low.safetensors")
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(load(tmp_path / "low.safetensors")(x), child(x))


def test_query_and_recipe_round_trip(tmp_path: Path) -> None:
    query = "patch=4&dim=6&depth=1&heads=2&mlp_ratio=2&pooling=class&activation=relu&dropout=0.1&ranks=3"
    recipe = parse_zoo(f"zoo:vit?{query}", input_shape=(1, 8, 8), classes=4)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    model = build(recipe, seed=2)
    assert {name: p.shape for name, p in skeleton(recipe).named_parameters()} == {
        name: p.shape for name, p in model.named_parameters()
    }
    assert (model.drop.p, model.block1.drop.p, type(model.block1.act)) == (0.1, 0.1, nn.ReLU)
    save(model, tmp_path / "vit.safetensors")
    again, x = load(tmp_path / "vit.safetensors"), torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), model(x))
    assert recipe_of(again) == recipe


def test_same_seed_same_weights() -> None:
    recipe = Recipe("vit", (1, 8, 8), 3, SMALL)
    first, second, other = (build(recipe, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["positions.weight"], other["positions.weight"])


def test_dropout_works_in_training_only() -> None:
    plain, drop = vit((1, 8, 8), 3, **SMALL), vit((1, 8, 8), 3, **SMALL, dropout=0.5)
    assert list(plain.state_dict()) == list(drop.state_dict())
    drop.load_state_dict(plain.state_dict())
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(drop.eval()(x), plain.eval()(x))
    drop.train()
    shares: dict[str, list[float]] = {}
    for name, module in drop.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: shares.setdefault(name, []).append(
                    float((output == 0).double().mean())
                )
            )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drop(x)
    assert {name: len(met) for name, met in shares.items()} == {"drop": 1, "block1.drop": 2, "block2.drop": 2}
    assert all(0.3 < share < 0.7 for met in shares.values() for share in met)


def test_second_derivatives() -> None:
    """Gradient penalties differentiate twice, which fused attention does not offer on every device."""
    model = _settled(vit((1, 2, 4), 2, patch=2, dim=4, depth=1, heads=2))
    assert torch.autograd.gradgradcheck(model, (_x(1, 1, 2, 4).requires_grad_(),))


def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = load_data("digits")
    train, test = data.split("train"), data.split("test")
    return train.x, train.y, test.x, test.y


def _fit(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, batch: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * -(-len(x) // batch))
    model.train()
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=generator).split(batch):
            optimiser.zero_grad()
            F.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
            schedule.step()
    model.eval()


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


@pytest.mark.parametrize("options", [{}, {"pooling": "class", "ranks": 6}], ids=["mean", "class, low rank"])
def test_every_weight_learns(options: dict[str, Any]) -> None:
    """A few digits are learned by heart, and no parameter is left out of it."""
    x, y, _, _ = _digits()
    model = build(Recipe("vit", (1, 8, 8), 10, {"dim": 16, "depth": 1, "heads": 2, **options}), seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    _fit(model, x[:20], y[:20], epochs=100, batch=20, rate=1e-2)
    assert _accuracy(model, x[:20], y[:20]) > 0.9
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.slow
def test_digits_are_learned() -> None:
    """Above 90 % on samples it has not seen; some seconds of processor time."""
    x, y, x_test, y_test = _digits()
    model = build(Recipe("vit", (1, 8, 8), 10, {"patch": 2, "dim": 32, "depth": 2}), seed=0)
    _fit(model, x, y, epochs=20, batch=64, rate=3e-3)
    assert _accuracy(model, x_test, y_test) > 0.9


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((64,), {}, r"vit takes images \(channels, height, width\), got \(64,\); use zoo:mlp"),
        ((1, 8, 12), {"patch": 3}, "option patch must divide the image's sides 8 and 12, got 3: choose a common"),
        ((1, 8, 8), {"patch": 16}, "option patch must divide"),
        ((1, 8, 8), {"patch": 0}, "option patch must be at least 1, got 0"),
        ((1, 8, 8), {"dim": 0}, "option dim must be at least 1, got 0"),
        ((1, 8, 8), {"depth": 0}, "option depth must be between 1 and"),
        ((1, 8, 8), {"heads": 0}, "option heads must be at least 1, got 0"),
        ((1, 8, 8), {"heads": 5}, "option heads must divide dim, got 5 heads for dim 64"),
        ((1, 8, 8), {"mlp_ratio": 0.0}, "option mlp_ratio must be a positive number, got 0"),
        ((1, 8, 8), {"mlp_ratio": float("inf")}, "option mlp_ratio must be a positive number, got inf"),
        ((1, 8, 8), {"pooling": "max"}, "unknown pooling 'max': expected one of mean, class"),
        ((1, 8, 8), {"activation": "cube"}, "unknown activation 'cube'"),
        ((1, 8, 8), {"dropout": 1.0}, r"option dropout is a share in \[0, 1\), got 1: 0 for none"),
        ((1, 8, 8), {"ranks": 64}, "64 is not below the full rank of any layer"),
        ((1, 8, 8), {"ranks": 0}, "option ranks must be at least 1, got 0"),
        ((1, 8, 8), {"ranks": (17, *[0] * 24)}, "option ranks must be between 0 and 16, got 17"),
        ((1, 8, 8), {"ranks": (1, 2)}, "option ranks has 2 values: expected one number, or one for each of the 25"),
    ],
)
def test_impossible_options(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        vit(shape, 3, **options)

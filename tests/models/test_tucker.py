"""Nested layers: the maps they compute, and how they are written down, made again, exported and trained."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.edits import adopt, edits_between
from brittle.models.export.cost import multiply_adds
from brittle.models.file import load, save
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.recipe import Recipe, build, recipe_of
from brittle.models.tucker import TuckerConv2d, TuckerLinear

NET = Recipe("cnn", (1, 8, 8), 5, {"channels": (4, 6), "kernel": 3, "stride": 2, "padding": 1, "fc": (9,)})
SIZES = [(3, 0, 0), (0, 2, 0), (3, 2, 0), (3, 2, 4), (0, 2, 3), (3, 0, 2)]


@pytest.mark.parametrize(("channels", "positions", "rank"), SIZES)
def test_a_nested_dense_layer_is_the_product_of_its_parts(channels: int, positions: int, rank: int) -> None:
    torch.manual_seed(0)
    layer = TuckerLinear(6, 4, 9, channels=channels, positions=positions, rank=rank).double()
    x = torch.randn(5, 24, dtype=torch.float64)
    q = layer.channels.weight if channels else torch.eye(6, dtype=torch.float64)
    p = layer.positions.weight if positions else torch.eye(4, dtype=torch.float64)
    core, bias = layer.core, getattr(layer.core, "bias", None)
    if rank:
        bias, matrix = core.second.bias, core.second.weight @ core.first.weight
    else:
        matrix = core.weight
    whole = torch.einsum("has,ac,sp->hcp", matrix.view(9, len(q), len(p)), q, p).flatten(1)
    torch.testing.assert_close(layer(x), x @ whole.T + bias)
    expected = (24 // 6 * positions) + 6 * channels + sum(w.numel() for w in core.parameters())
    assert sum(w.numel() for w in layer.parameters()) == expected


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_nested_convolution_is_one_with_the_composed_kernel(rank: int, mode: str) -> None:
    torch.manual_seed(1)
    geometry = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "padding_mode": mode}
    layer = TuckerConv2d(6, 5, (3, 2), 2, rank, **geometry).double()
    core = layer.core
    kernel = (
        core.weight if rank == 0 else torch.einsum("hr,raij->haij", core.second.weight[:, :, 0, 0], core.first.weight)
    )
    plain = nn.Conv2d(6, 5, (3, 2), **geometry).double()
    plain.weight.data = torch.einsum("haij,ac->hcij", kernel, layer.channels.weight[:, :, 0, 0])
    plain.bias.data = core.bias if rank == 0 else core.second.bias
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TuckerLinear(6, 4, 9), "mixes channels or positions"),
        (lambda: TuckerLinear(6, 4, 9, channels=7), "channels must be between 1 and 6"),
        (lambda: TuckerLinear(6, 4, 9, positions=-1), "positions must be between 1 and 4"),
        (lambda: TuckerLinear(6, 4, 9, positions=2, rank=10), "rank must be between 1 and 9"),
        (lambda: TuckerConv2d(6, 4, 3, 0), "mixes its channels"),
        (lambda: TuckerConv2d(6, 4, 3, 7), "channels must be between 1 and 6"),
        (lambda: TuckerConv2d(6, 4, 3, 2, 5), "rank must be between 1 and 4"),
    ],
)
def test_sizes_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make()  # type: ignore[operator]


def _child(linear: tuple[int, int, int], conv: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    parent = build(NET, seed=3)
    child = copy.deepcopy(parent)
    channels, positions, rank = linear
    child.fc1 = TuckerLinear(6, 4, 9, channels=channels, positions=positions, rank=rank)
    child.conv2 = TuckerConv2d(4, 6, 3, conv[0], conv[1], stride=2, padding=1)
    return parent, child.eval()


@pytest.mark.parametrize("linear", SIZES)
@pytest.mark.parametrize("conv", [(2, 0), (2, 3)])
def test_nested_children_are_loaded_bit_for_bit(
    linear: tuple[int, int, int], conv: tuple[int, int], tmp_path: Path
) -> None:
    parent, child = _child(linear, conv)
    adopt(child, parent)
    recipe = recipe_of(child)
    assert recipe is not None
    assert sorted((e.path, e.kind) for e in recipe.edits) == [("conv2", "tucker_conv2d"), ("fc1", "tucker_linear")]
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    save(child, tmp_path / "child.safetensors")
    again = load(tmp_path / "child.safetensors")
    x = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(again(x), child(x))
    for name, weight in child.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_a_child_whose_parts_were_cut_again_is_loaded_too(tmp_path: Path) -> None:
    parent, child = _child((5, 3, 6), (3, 4))
    child.fc1.core = LowRankLinear(15, 9, 2)
    child.fc1.positions = LowRankLinear(4, 3, 1, bias=False)
    child.conv2.core = LowRankConv2d(3, 6, 3, 1, stride=2, padding=1)
    adopt(child, parent)
    save(child, tmp_path / "child.safetensors")
    x = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "child.safetensors")(x), child(x))


def test_other_modes_are_a_difference() -> None:
    _, one = _child((3, 0, 0), (2, 0))
    _, other = _child((3, 2, 0), (2, 0))
    assert [edit.path for edit in edits_between(one, other)] == ["fc1"]
    assert edits_between(one, copy.deepcopy(one)) == ()


def test_a_nested_child_is_counted_and_trained() -> None:
    _, child = _child((3, 2, 4), (2, 3))
    # By hand: 4 x 4 and 2 x 2 maps of 4 and 6 channels.
    conv1, conv2 = 16 * 4 * 9, 16 * 4 * 2 + 4 * (3 * 2 * 9 + 6 * 3)
    fc1, head = 6 * 4 * 2 + 2 * 6 * 3 + 6 * 4 + 4 * 9, 9 * 5
    assert multiply_adds(child, (1, 8, 8)) == conv1 + conv2 + fc1 + head
    before = [p.detach().clone() for p in child.parameters()]
    step = torch.optim.SGD(child.parameters(), lr=0.1)
    nn.functional.cross_entropy(child.train()(torch.rand(4, 1, 8, 8)), torch.tensor([0, 1, 2, 3])).backward()
    step.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, child.parameters(), strict=True))

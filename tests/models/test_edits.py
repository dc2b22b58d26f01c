"""Edits: what was replaced in a network is found by looking, saved, and made again from the recipe alone."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.attention import SelfAttention
from brittle.models.editing.edit import apply_edits
from brittle.models.editing.table import EDIT_KINDS
from brittle.models.edits import Edit, adopt, describe, edits_between
from brittle.models.file import load, save
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.models.recipe import Recipe, attach, build, parse_zoo, recipe_of, skeleton
from tests.models.children import CASES, columns, rows
from tests.vision import need_timm

SMALL = Recipe("mlp", (1, 4, 4), 5, {"width": 8})


@pytest.mark.parametrize("name", list(CASES))
def test_children_are_loaded_as_they_were(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    parent = case.parent()
    child = case.child(parent)
    assert adopt(child, parent) is child
    recipe = recipe_of(child)
    assert recipe is not None
    assert sorted((edit.path, edit.kind) for edit in recipe.edits) == sorted(case.edits)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe_of(parent) == replace(recipe, edits=())

    place = tmp_path / "child.safetensors"
    save(child, place)
    again = load(place)
    assert recipe_of(again) == recipe
    assert not any(module.training for module in again.modules())
    x = torch.rand(2, *case.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(again(x), child(x), rtol=1e-6, atol=1e-6)

    before = [p.detach().clone() for p in again.parameters()]
    torch.optim.SGD(again.parameters(), lr=0.1).zero_grad()
    nn.functional.cross_entropy(again.train()(x), torch.tensor([0, 1])).backward()
    torch.optim.SGD(again.parameters(), lr=0.1).step()
    assert any(not torch.equal(a, b) for a, b in zip(before, again.parameters(), strict=True))


def test_no_change_is_no_edit() -> None:
    model = build(SMALL)
    assert edits_between(model, copy.deepcopy(model)) == ()
    assert recipe_of(adopt(copy.deepcopy(model), model)) == SMALL
    assert "edits" not in SMALL.to_dict()


def test_changes_of_changes_are_one() -> None:
    parent = build(SMALL, seed=1)
    child = copy.deepcopy(parent)
    rows(child.fc1, range(6))
    columns(child.fc2, range(6))
    adopt(child, parent)
    grandchild = copy.deepcopy(child)
    grandchild.fc2 = LowRankLinear(6, 8, 3)
    rows(grandchild.fc1, range(6))
    adopt(grandchild, child)
    recipe = recipe_of(grandchild)
    assert recipe is not None
    assert recipe.edits == (
        Edit("fc1", "linear", {"in": 16, "out": 6, "bias": 1}),
        Edit("fc2", "low_rank_linear", {"in": 6, "out": 8, "rank": 3, "bias": 1}),
    )
    assert edits_between(child, grandchild) == recipe.edits[1:]


def test_ranks_of_a_recipe_can_be_cut_and_written_out() -> None:
    """Low-rank layers that the architecture itself has: another rank, a pair in place of another pair, a dense one."""
    options = {"channels": [3, 6], "kernel": 3, "padding": 1, "stride": 1, "fc": 5, "ranks": [2, 3, 4, 0]}
    parent = build(Recipe("cnn", (2, 4, 4), 3, options), seed=1)
    child = copy.deepcopy(parent)
    child.conv1 = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    child.conv2 = LowRankConv2dIn(3, 6, 3, 2, padding=1)
    child.fc1 = LowRankLinear(96, 5, 2)
    child.head = nn.Linear(5, 3, bias=False)
    adopt(child, parent)
    again = build(recipe_of(child))  # type: ignore[arg-type]
    again.load_state_dict(child.state_dict())
    x = torch.rand(2, 2, 4, 4)
    assert torch.equal(again(x), child(x))
    assert [edit.kind for edit in recipe_of(child).edits] == [
        "conv2d",
        "low_rank_conv2d_in",
        "low_rank_linear",
        "linear",
    ]  # type: ignore[union-attr]
    dense = copy.deepcopy(parent)
    dense.fc1 = nn.Linear(96, 5)
    assert edits_between(parent, dense) == (Edit("fc1", "linear", {"in": 96, "out": 5, "bias": 1}),)


class Others(nn.Sequential):
    """The layers that no architecture of the zoo has."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(
            nn.Unflatten(1, (1, 16)),
            nn.Conv1d(1, width, 3, padding=1),
            nn.GroupNorm(groups, width),
            nn.PReLU(width),
            nn.Unflatten(2, (1, 4, 4)),
            nn.Conv3d(width, width, 3, padding=1, groups=groups),
            nn.BatchNorm3d(width),
            nn.Flatten(),
            nn.Linear(16 * width, 3),
        )


def test_layers_outside_the_zoo() -> None:
    base, child = Others(4, 2).eval(), Others(3, 3).eval()
    edits = edits_between(base, child)
    assert [edit.kind for edit in edits] == ["conv1d", "group_norm", "prelu", "conv3d", "batch_norm", "linear"]
    made = apply_edits(base, edits)
    made.load_state_dict(child.state_dict())
    x = torch.rand(2, 16)
    assert torch.equal(made(x), child(x))


def test_widths_of_other_packages_transformers() -> None:
    """The width of the tokens: attributes and own parameters that the packages compute with."""
    need_timm()
    import timm.models.vision_transformer as of_timm
    import torchvision.models.vision_transformer as of_torchvision

    def timm_net(width: int, heads: int) -> nn.Module:
        size = {"img_size": 8, "patch_size": 4, "reg_tokens": 1, "num_classes": 3, "depth": 1}
        net = of_timm.VisionTransformer(embed_dim=width, num_heads=heads, init_values=0.1, mlp_ratio=24 / width, **size)
        return nn.Sequential(net).eval()

    def torchvision_net(width: int) -> nn.Module:
        net = of_torchvision.VisionTransformer(8, 4, 1, 2, width, 10, num_classes=3)
        net.heads.head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
        for block in net.encoder.layers:
            block.self_attention = SelfAttention.from_multihead(block.self_attention)
        return nn.Sequential(net).eval()

    x = torch.rand(2, 3, 8, 8)
    for base, child, kinds in (
        (timm_net(12, 3), timm_net(8, 4), {"timm_vit", "timm_attention", "timm_layer_scale"}),
        (torchvision_net(12), torchvision_net(8), {"torchvision_vit", "torchvision_encoder", "self_attention"}),
    ):
        edits = edits_between(base, child)
        assert kinds <= {edit.kind for edit in edits}
        made = apply_edits(base, edits)
        made.load_state_dict(child.state_dict())
        torch.testing.assert_close(made(x), child(x), rtol=1e-6, atol=1e-6)
        assert float(made(x).abs().max()) > 0


def test_every_kind_is_met_by_a_test() -> None:
    met = {kind for case in CASES.values() for _, kind in case.edits}
    met |= {"conv1d", "conv3d", "group_norm", "prelu"}
    met |= {"timm_vit", "timm_layer_scale", "torchvision_vit", "torchvision_encoder"}
    assert met == set(EDIT_KINDS)


def test_looking_changes_nothing_and_takes_no_memory() -> None:
    base, child = build(SMALL, seed=1), build(replace(SMALL, options={"width": 6}), seed=2)
    kept = copy.deepcopy(base.state_dict()), copy.deepcopy(child.state_dict())
    state = torch.random.get_rng_state()
    assert [edit.path for edit in edits_between(base, child)] == ["fc1", "fc2", "head"]
    assert torch.equal(state, torch.random.get_rng_state())
    for model, before in zip((base, child), kept, strict=True):
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    huge = skeleton(Recipe("mlp", (10**6,), 5, {"width": 10**6}))
    assert edits_between(huge, huge) == ()


def test_what_evaluation_does_not_see_is_no_change() -> None:
    model = build(Recipe("cnn", (1, 8, 8), 3, {"channels": 4, "batch_norm": True, "dropout": 0.5}))
    child = copy.deepcopy(model).train()
    child.bn1.momentum, child.drop1.p, child.act1.inplace = 0.3, 0.1, True
    assert edits_between(model, child) == ()


def _sequence(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *modules)


class Owner(nn.Module):
    """A module with a parameter and a part of its own."""

    def __init__(self, size: int, part: nn.Module | None = None) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
        self.register_module("part", part)


DIFFERENCES = {
    "class": (nn.ReLU(), nn.Tanh(), "'1' is a Tanh in place of a ReLU"),
    "number": (nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3, stride=2), r"'1' has stride=\(2, 2\) in place of \(1, 1\)"),
    "kernel": (nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 2), r"'1' has kernel_size=\(2, 2\)"),
    "slope": (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2), "'1' has negative_slope=0.2 in place of 0.1"),
    "own parameter": (Owner(2), Owner(3), r"'1' has 'gain' of shape \(3,\) in place of \(2,\)"),
    "parts": (_sequence(nn.ReLU()), _sequence(nn.ReLU(), nn.ReLU()), "'1' has the parts 0, 1, 2 in place of 0, 1"),
    "a part that is gone": (Owner(2, nn.ReLU()), Owner(2), "'1.part' is only there in one of both networks"),
    "a pair for a grouped convolution": (
        nn.Conv2d(2, 2, 3, groups=2),
        LowRankConv2d(2, 2, 3, 1),
        "'1' is a LowRankConv2d",
    ),
    "a norm over two axes": (nn.LayerNorm((2, 3)), nn.LayerNorm((2, 4)), r"normalized_shape=\(2, 4\)"),
}


@pytest.mark.parametrize("name", list(DIFFERENCES))
def test_other_differences_are_refused(name: str) -> None:
    base, child, message = DIFFERENCES[name]
    with pytest.raises(ModelError, match=message) as caught:
        edits_between(_sequence(base), _sequence(child))
    assert "\n" not in str(caught.value)
    assert "only changes of sizes, ranks and heads can be written down" in str(caught.value)


def test_a_subclass_that_computes_more_gives_way_to_no_pair() -> None:
    class Padded(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))

    with pytest.raises(ModelError, match="'0' is a LowRankConv2d in place of a Padded"):
        edits_between(nn.Sequential(Padded(2, 2, 3)), nn.Sequential(LowRankConv2d(2, 2, 3, 1)))
    # Its sizes may change: the class stays
    base = nn.Sequential(Padded(2, 2, 3))
    made = apply_edits(base, edits_between(base, nn.Sequential(Padded(2, 1, 3))))
    assert made(torch.rand(1, 2, 4, 4)).shape == (1, 1, 4, 4)


def test_a_model_that_cannot_be_copied() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.handle = (i for i in range(3))
    with pytest.raises(ModelError, match=r"the model cannot be copied .*pass a plain nn.Module"):
        edits_between(model, model)


def test_a_parent_without_a_recipe_gives_none() -> None:
    parent = nn.Sequential(nn.Linear(4, 4))
    child = nn.Sequential(nn.Linear(4, 4))
    assert adopt(child, parent) is child
    assert recipe_of(child) is None


def test_describe_takes_the_head_of_other_classes() -> None:
    model = build(SMALL)
    columns(model.head, range(3))
    rows(model.fc2, range(3))
    model.head = nn.Linear(3, 2)
    recipe = describe(model, replace(SMALL, classes=2))
    assert [(edit.path, edit.sizes["in"], edit.sizes["out"]) for edit in recipe.edits] == [
        ("fc2", 8, 3),
        ("head", 3, 2),
    ]


def test_building_draws_from_the_seed() -> None:
    recipe = replace(SMALL, edits=(Edit("fc1", "low_rank_linear", {"in": 16, "out": 8, "rank": 2, "bias": 1}),))
    state = torch.random.get_rng_state()
    first, again, other = (build(recipe, seed=s).fc1.first.weight for s in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() > 0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"kind": "code"}, "unknown kind of change 'code': expected one of linear, conv1d"),
        ({"sizes": {"in": 3}}, "a change of kind linear has the sizes in, out, bias, got in for 'fc1'"),
        ({"sizes": {}}, "got none for 'fc1'"),
        ({"sizes": {"in": 0, "out": 3, "bias": 1}}, "size 'in' of 'fc1' must be at least 1, got 0"),
        ({"sizes": {"in": 3, "out": 3, "bias": -1}}, "size 'bias' of 'fc1' must be at least 0, got -1"),
        ({"sizes": {"in": "x", "out": 3, "bias": 1}}, "not a valid Recipe record: field 'edits"),
        ({"path": "fc7"}, "the architecture has no submodule 'fc7' to change"),
        ({"path": ""}, "the architecture has no submodule '' to change"),
        ({"path": "fc1.weight"}, "the architecture has no submodule 'fc1.weight' to change"),
        ({"path": "act1"}, "a change of kind linear cannot replace 'act1', which is a ReLU"),
        ({"sizes": {"in": 2**40, "out": 2**40, "bias": 1}}, "'fc1' cannot be built .*choose smaller sizes"),
        (
            {"kind": "low_rank_linear", "sizes": {"in": 3, "out": 4, "rank": 9, "bias": 1}},
            "'fc1': rank must be between 1 and 3",
        ),
    ],
)
def test_recipes_with_bad_edits(edit: dict[str, object], message: str) -> None:
    values = {"path": "fc1", "kind": "linear", "sizes": {"in": 3, "out": 3, "bias": 1}} | edit
    with pytest.raises(ModelError, match=message) as caught:
        skeleton(Recipe.from_dict(SMALL.to_dict() | {"edits": [values]}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "edit", "message"),
    [
        (
            nn.Conv2d(2, 2, 3),
            Edit("0", "conv2d", {"in": 3, "out": 2, "groups": 2, "bias": 1}),
            "groups must divide both",
        ),
        (nn.GroupNorm(1, 2), Edit("0", "group_norm", {"channels": 3, "groups": 2}), "groups must divide the channels"),
        (
            nn.MultiheadAttention(4, 2),
            Edit("0", "self_attention", {"dim": 4, "inner": 4, "heads": 2, "bias": 1}),
            "batch_first=True",
        ),
    ],
    ids=["convolution", "norm", "attention"],
)
def test_sizes_that_contradict_each_other(layer: nn.Module, edit: Edit, message: str) -> None:
    with pytest.raises(ModelError, match=f"'0': .*{message}"):
        apply_edits(nn.Sequential(layer), (edit,))


def test_a_hostile_base_reserves_no_memory(tmp_path: Path) -> None:
    """4 TB of weights before the edits, a few numbers after them: the file must load without making the former."""
    sizes = ("fc1", 4, 3), ("fc2", 3, 2), ("head", 2, 5)
    edits = tuple(Edit(name, "linear", {"in": a, "out": b, "bias": 1}) for name, a, b in sizes)
    recipe = Recipe("mlp", (4,), 5, {"width": 10**6}, edits=edits)
    small = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 5))
    names = dict(zip("012345", ("flatten", "fc1", "act1", "fc2", "act2", "head"), strict=True))
    model = nn.Sequential()
    for place, name in names.items():
        model.add_module(name, small[int(place)])
    save(attach(model, recipe), tmp_path / "net.safetensors")
    x = torch.rand(3, 4)
    assert torch.equal(load(tmp_path / "net.safetensors")(x), model(x))


def test_a_file_whose_weights_do_not_fit_the_edits(tmp_path: Path) -> None:
    model = build(SMALL)
    rows(model.fc1, range(3))
    with pytest.raises(ModelError, match=r"weight 'fc1.weight' of the model has shape \(3, 16\), its recipe says"):
        save(model, tmp_path / "net.safetensors")
    low = parse_zoo("zoo:mlp?width=8&ranks=2&input=1x4x4&classes=5")
    with pytest.raises(ModelError, match=r"lacks weight 'fc1\.first\.weight'"):
        save(attach(build(SMALL), low), tmp_path / "net.safetensors")

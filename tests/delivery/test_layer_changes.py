"""The table of layers says what became of each, in shapes of weights and counts of parameters."""

from __future__ import annotations

import copy

import torch
from torch import nn

from brittle.compression.factorise import factorise
from brittle.compression.nested import nest
from brittle.compression.nesting import Nesting
from brittle.delivery.layer_changes import layer_changes
from brittle.models.recipe import Recipe, build
from tests.small_nets import pruned, trained


def total(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_pruned_layers_have_their_new_shapes() -> None:
    rows = layer_changes(trained(), pruned())
    assert [(r.name, r.before, r.after) for r in rows] == [
        ("fc1", (24, 64), (12, 64)), ("fc2", (16, 24), (8, 12)), ("head", (10, 16), (10, 8)),
    ]  # fmt: skip
    assert all(row.rank is None and row.density == 1.0 for row in rows)
    assert sum(row.parameters_before for row in rows) == total(trained())
    assert sum(row.parameters_after for row in rows) == total(pruned())


def test_a_low_rank_pair_is_one_layer_with_the_shape_of_its_product() -> None:
    net = build(Recipe("cnn", (1, 8, 8), 10, {"channels": [6, 8], "fc": [16]}), seed=0)
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    child = factorise(net, {names[1]: 3, names[2]: 2})
    rows = {row.name: row for row in layer_changes(net, child)}
    assert list(rows) == names
    assert (rows[names[1]].rank, rows[names[2]].rank, rows[names[0]].rank) == (3, 2, None)
    for row in rows.values():
        assert row.before == row.after
    assert sum(row.parameters_after for row in rows.values()) == total(child)


def test_zeros_lower_the_density_and_missing_layers_are_gone() -> None:
    net = trained()
    child = copy.deepcopy(net)
    with torch.no_grad():
        child.get_submodule("fc1").weight[:6] = 0
    child.head = nn.Identity()
    rows = {row.name: row for row in layer_changes(net, child)}
    assert rows["fc1"].density == 0.75
    assert (rows["head"].after, rows["head"].parameters_after, rows["head"].density) == ((), 0, 0.0)


def test_attention_is_one_layer_whether_its_weights_are_joint_or_not() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(8, 4) for _ in range(3))
            self.proj = nn.Linear(4, 8)

    parent = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2), "fc": nn.Linear(8, 3)})
    child = nn.ModuleDict({"attention": Split(), "fc": nn.Linear(8, 3)})
    rows = {row.name: row for row in layer_changes(parent, child)}
    assert list(rows) == ["attention", "fc"]
    assert (rows["attention"].before, rows["attention"].after) == ((24, 8), (12, 8))
    assert rows["attention"].parameters_after == total(child["attention"])


def test_a_model_that_is_one_layer() -> None:
    (row,) = layer_changes(nn.Linear(4, 3), nn.Linear(4, 3))
    assert (row.name, row.before) == ("", (3, 4))


def test_a_nested_layer_is_one_layer_with_its_modes() -> None:
    net = build(Recipe("cnn", (1, 8, 8), 10, {"channels": [6, 8], "kernel": 3, "fc": [16]}), seed=0)
    sizes = {"conv2": Nesting((8, 6, 9), 3, 0, 0), "fc1": Nesting((16, 8, 4), 0, 2, 5)}
    child = nest(net, sizes)
    rows = {row.name: row for row in layer_changes(net, child)}
    assert list(rows) == ["conv1", "conv2", "fc1", "head"]
    assert [(row.rank, row.modes) for row in rows.values()] == [(None, None), (None, (3, 0)), (5, (0, 2)), (None, None)]
    assert all(row.before == row.after for row in rows.values())
    assert sum(row.parameters_after for row in rows.values()) == total(child)
    again = layer_changes(child, child)
    assert [row.before for row in again] == [row.before for row in rows.values()], "a nested parent has whole rows too"

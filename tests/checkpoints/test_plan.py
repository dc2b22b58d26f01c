"""Every tensor is measured or listed, once."""

from __future__ import annotations

from pathlib import Path

import torch

from brittle.checkpoints.formats import CODES, FLOATS, reason_unread
from brittle.checkpoints.plan import natural
from tests.checkpoints.made import normal, planned

TENSORS = {
    "layers.10.w.weight": normal(4, 3, seed=0),
    "layers.9.w.weight": normal(4, 3, seed=1),
    "conv.weight": normal(8, 3, 5, 5, seed=2),
    "h.0.attn.c_attn.weight": normal(4, 12, seed=3),
    "mlp.experts.w1": normal(2, 5, 7, seed=4),
    "norm.weight": torch.ones(4),
    "pos_embed": normal(1, 9, 4, seed=5),
    "steps": torch.tensor(3),
    "position_ids": torch.arange(6).view(1, 6),
    "packed.weight": torch.zeros(4, 4, dtype=torch.uint8),
    "mask": torch.ones(4, 4, dtype=torch.bool),
    "empty": torch.zeros(0, 4),
}


def test_counts_agree_with_the_file(tmp_path: Path) -> None:
    found = planned(tmp_path, TENSORS)
    measured = sum(matrix.shape[0] * matrix.shape[1] for matrix in found.matrices)
    listed = sum(torch.Size(row.shape).numel() for row in found.unmeasured)
    assert measured + listed == sum(tensor.numel() for tensor in TENSORS.values())
    assert {m.stored.name for m in found.matrices} | {row.name for row in found.unmeasured} == set(TENSORS)


def test_shapes_and_order(tmp_path: Path) -> None:
    assert [(m.name, m.shape) for m in planned(tmp_path, TENSORS).matrices] == [
        ("conv", (8, 75)),
        ("h.0.attn.c_attn.q", (4, 4)),
        ("h.0.attn.c_attn.k", (4, 4)),
        ("h.0.attn.c_attn.v", (4, 4)),
        ("layers.9.w", (4, 3)),
        ("layers.10.w", (4, 3)),
        ("mlp.experts.w1[0]", (5, 7)),
        ("mlp.experts.w1[1]", (5, 7)),
    ]


def test_reasons(tmp_path: Path) -> None:
    why = {row.name: row.why for row in planned(tmp_path, TENSORS).unmeasured}
    for name, part in {
        "norm.weight": "no matrix",
        "steps": "integers",
        "pos_embed": "one leading entry",
        "position_ids": "integers",
        "packed.weight": "pack several weights",
        "mask": "a mask",
        "empty": "empty",
    }.items():
        assert part in why[name], name
    assert reason_unread("F4") == "the number format F4 is not read"
    assert [reason_unread(name) for name in (*FLOATS, *CODES)] == [None] * 7


def test_a_tied_tensor_is_measured_once(tmp_path: Path) -> None:
    w, codes = normal(40, 3, seed=0), torch.ones(4, 4, dtype=torch.int8)
    other = w.clone()
    other[-1, -1] += 1e-6
    tensors = {"embed.weight": w, "head.weight": w, "near.weight": other, "view.weight": w.view(3, 40)}
    scaled = {
        "a.weight": codes,
        "b.weight": codes,
        "a.weight_scale": torch.tensor(1.0),
        "b.weight_scale": torch.tensor(2.0),
    }
    found = {m.name: m.same_as for m in planned(tmp_path, {**tensors, **scaled}).matrices}
    assert found == {"embed": ("head.weight",), "near": (), "view": (), "a": (), "b": ()}


def test_equal_layer_names_are_told_apart(tmp_path: Path) -> None:
    found = planned(tmp_path, {"a": normal(3, 2, seed=0), "a.weight": normal(3, 2, seed=1)}).matrices
    assert {m.name for m in found} == {"a", "a.weight"}


def test_natural_order() -> None:
    names = ["b.10.x", "b.9.x", "b.9", "10", "9", "a"]
    assert sorted(names, key=natural) == ["a", "b.9", "b.9.x", "b.10.x", "9", "10"]

"""Fused tensors come apart only where name and shape leave no doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from brittle.checkpoints.files import Stored
from brittle.checkpoints.splits import conv1d_blocks, module_name, parts_of


def stored(name: str, *shape: int) -> Stored:
    return Stored(name, "F32", shape, Path("f"), 0)


def parts(tensor: Stored, *others: Stored) -> list[tuple[str, int | None, tuple[int, int] | None, bool]]:
    found = parts_of(tensor, conv1d_blocks([tensor, *others]))
    return [(part.name, part.index, part.outputs, part.transposed) for part in found]


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("enc.self_attn.in_proj_weight", "enc.self_attn.in_proj"),
        ("in_proj_weight", "in_proj"),
        ("blocks.0.attn.qkv.weight", "blocks.0.attn.qkv"),
        ("attn.qkv.weight", "attn.qkv"),
    ],
)
def test_query_key_value_by_rows(name: str, base: str) -> None:
    expected = [(f"{base}.{part}", None, (4 * i, 4 * i + 4), False) for i, part in enumerate("qkv")]
    assert parts(stored(name, 12, 4)) == expected


def test_gpt2_stores_inputs_by_outputs() -> None:
    fused = stored("h.0.attn.c_attn.weight", 4, 12)
    assert parts(fused) == [(f"h.0.attn.c_attn.{p}", None, (4 * i, 4 * i + 4), True) for i, p in enumerate("qkv")]
    for name in ("h.0.attn.c_proj", "h.0.mlp.c_fc", "h.0.mlp.c_proj"):
        assert parts(stored(f"{name}.weight", 4, 4), fused) == [(name, None, None, True)]
    assert parts(stored("h.1.mlp.c_fc.weight", 4, 4), fused) == [("h.1.mlp.c_fc", None, None, False)]


def test_gate_and_up() -> None:
    assert parts(stored("l.mlp.gate_up_proj.weight", 10, 3)) == [
        ("l.mlp.gate_up_proj.gate", None, (0, 5), False),
        ("l.mlp.gate_up_proj.up", None, (5, 10), False),
    ]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("attn.qkv.weight", (10, 4)),  # grouped keys
        ("stages.0.attn_block.attn.qkv.weight", (12, 4)),  # heads interleaved
        ("attention.query_key_value.weight", (12, 4)),
        ("attn.qkv_proj.weight", (12, 4)),
        ("mlp.gate_up_proj.weight", (9, 3)),
        ("c_attn.weight", (12, 4)),
        ("my_qkv.weight", (12, 4)),
        ("conv.weight", (8, 3, 3, 3)),
        ("mixer.conv1d.weight", (8, 1, 4)),
    ],
)
def test_others_stay_whole(name: str, shape: tuple[int, ...]) -> None:
    assert parts(stored(name, *shape)) == [(module_name(name), None, None, False)]


def test_experts_are_slices() -> None:
    assert parts(stored("l.3.mlp.experts.down_proj", 2, 5, 7)) == [
        ("l.3.mlp.experts.down_proj[0]", 0, None, False),
        ("l.3.mlp.experts.down_proj[1]", 1, None, False),
    ]
    assert "rows are its second dimension" in parts_of(stored("experts.w", 2, 5, 7), frozenset())[0].note


def test_names() -> None:
    assert [module_name(n) for n in ("a.weight", "weight", ".weight", "a.weight._data", "bias", "w_weight")] == [
        "a", "weight", ".weight", "a", "bias", "w_weight",
    ]  # fmt: skip

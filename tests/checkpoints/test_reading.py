"""Blocks are exact float64 copies, whatever the format and the part of the tensor; the file never changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from brittle.checkpoints.reading import reading
from tests.checkpoints.made import normal, only, planned

FORMATS = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int8,
)


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_format(dtype: torch.dtype, tmp_path: Path) -> None:
    w = (3 * normal(7, 5, seed=0)).to(dtype)
    with reading(only(tmp_path, {"a.weight": w})) as reader:
        assert reader.sides == (7, 5)
        assert torch.equal(reader.block((0, 7)), w.double())
        assert torch.equal(reader.block((2, 4), (1, 5)), w.double()[2:4, 1:5])
        reader.factor = 0.25
        assert torch.equal(reader.block((2, 4)), w.double()[2:4] / 4)


def test_parts_of_tensors(tmp_path: Path) -> None:
    tensors = {
        "attn.qkv.weight": normal(12, 4, seed=0),
        "h.0.attn.c_attn.weight": normal(4, 12, seed=1),
        "l.experts.w": normal(2, 5, 7, seed=2),
        "conv.weight": normal(4, 2, 3, 3, seed=3),
    }
    truth = {
        "attn.qkv.k": tensors["attn.qkv.weight"][4:8],
        "h.0.attn.c_attn.v": tensors["h.0.attn.c_attn.weight"][:, 8:],  # as stored
        "l.experts.w[1]": tensors["l.experts.w"][1],
        "conv": tensors["conv.weight"].reshape(4, 18),
    }
    found = {m.name: m for m in planned(tmp_path, tensors).matrices}
    for name, expected in truth.items():
        with reading(found[name]) as reader:
            assert reader.sides == tuple(expected.shape)
            assert torch.equal(reader.block((0, expected.shape[0])), expected.double()), name


def test_ranges_cover_everything_once(tmp_path: Path) -> None:
    with reading(only(tmp_path, {"a.weight": normal(23, 10, seed=0)})) as reader:
        for entries in (1, 10, 35, 10_000):
            rows, columns = list(reader.rows(entries)), list(reader.columns(entries))
            assert [i for start, end in rows for i in range(start, end)] == list(range(23))
            assert [i for start, end in columns for i in range(start, end)] == list(range(10))
            assert all((end - start) * 10 <= max(entries, 10) for start, end in rows)


@pytest.mark.parametrize("dtype", FORMATS)
def test_working_in_place_on_a_block_leaves_the_file_alone(dtype: torch.dtype, tmp_path: Path) -> None:
    matrix = only(tmp_path, {"a.weight": normal(7, 5, seed=0).to(dtype)})
    before = matrix.stored.file.read_bytes()
    with reading(matrix) as reader:
        reader.block((0, 7)).abs_().mul_(3)
        first = reader.block((0, 7))
    with reading(matrix) as reader:
        assert torch.equal(reader.block((0, 7)), first)
        assert bool((first < 0).any())
    assert matrix.stored.file.read_bytes() == before

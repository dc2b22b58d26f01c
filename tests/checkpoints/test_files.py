"""Listing tensors from headers, and what is wrong with a folder of shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from brittle.checkpoints.files import find_checkpoint, opened
from brittle.errors import ModelError
from tests.checkpoints.made import normal, write, write_shards

A, B = {"a.weight": normal(3, 2, seed=0).bfloat16()}, {"b.weight": normal(4, 5, seed=1), "b.bias": torch.zeros(4)}


@pytest.mark.parametrize("index", [True, False])
def test_shards_are_one_checkpoint(tmp_path: Path, index: bool) -> None:
    found = find_checkpoint(write_shards(tmp_path / "m", {"1.safetensors": A, "2.safetensors": B}, index=index))
    assert {name: (t.dtype, t.shape, t.file.name, t.bytes) for name, t in found.tensors.items()} == {
        "a.weight": ("BF16", (3, 2), "1.safetensors", 12),
        "b.weight": ("F32", (4, 5), "2.safetensors", 80),
        "b.bias": ("F32", (4,), "2.safetensors", 16),
    }
    assert found.parameters == 30
    assert found.bytes == sum(file.stat().st_size for file in (tmp_path / "m").glob("*.safetensors"))


def test_with_an_index_other_files_do_not_count(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "m", {"1.safetensors": A})
    write(folder / "other.safetensors", A)
    assert list(find_checkpoint(folder).tensors) == ["a.weight"]


def _index(folder: Path, content: object) -> Path:
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    return folder


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    twice = write_shards(tmp_path / "twice", {"1.safetensors": A, "2.safetensors": A}, index=False)
    missing = _index(write_shards(tmp_path / "missing", {"1.safetensors": A}), {"weight_map": {"a": "no.safetensors"}})
    lacking = _index(write_shards(tmp_path / "lacking", {"1.safetensors": A}), {"weight_map": {"c": "1.safetensors"}})
    outside = _index(write_shards(tmp_path / "outside", {}), {"weight_map": {"a": "../1.safetensors"}})
    pickled = _index(write_shards(tmp_path / "pickled", {}), {"weight_map": {"a": "pytorch_model.bin"}})
    nothing = _index(write_shards(tmp_path / "nothing", {}), [1])
    several = write_shards(tmp_path / "several", {"1.safetensors": A})
    (several / "other.safetensors.index.json").write_text("{}")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(write(tmp_path / "a.safetensors", A).read_bytes()[:-4])
    for place, said in (
        (empty, "holds no .safetensors file: give the folder"),
        (tmp_path / "no.safetensors", "no such file: .*; expected a .safetensors file"),
        (twice, "'a.weight' is both in 1.safetensors and in 2.safetensors: give one"),
        (missing, "no such file: .*no.safetensors"),
        (lacking, "promises 'c' in 1.safetensors, which lacks it: download it again"),
        (outside, r"points to '\.\./1.safetensors': expected"),
        (pickled, "points to 'pytorch_model.bin': expected .safetensors files"),
        (nothing, "is no index of shards .*: download it again"),
        (several, "holds several indices .*: give one file"),
        (cut, "is not a whole safetensors file .*: write it again"),
    ):
        with pytest.raises(ModelError, match=said) as refused:
            find_checkpoint(place)
        assert "\n" not in str(refused.value)


def test_opening_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"), opened(tmp_path / "no.safetensors"):
        pass

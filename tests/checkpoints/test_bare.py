"""Which MODEL strings go to the structure audit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from brittle.checkpoints.bare import is_bare, read_header
from brittle.errors import ModelError
from brittle.models.file import save
from brittle.models.recipe import Recipe, build
from tests.checkpoints.made import normal, write, write_shards


def test_files_without_a_recipe_and_folders_are_bare(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.safetensors", {"a.weight": normal(3, 2, seed=0)})
    shards = write_shards(tmp_path / "shards", {"a.safetensors": {"a.weight": normal(3, 2, seed=0)}})
    only_index = tmp_path / "only-index"
    only_index.mkdir()
    (only_index / "model.safetensors.index.json").write_text("{}")
    assert all(is_bare(str(place)) for place in (bare, shards, only_index))


def test_everything_else_is_not(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save(build(Recipe("mlp", (1, 8, 8), 10, {"widths": [4]}), seed=0), whole)
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 40)
    (tmp_path / "list.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]")
    (tmp_path / "weights.pt").write_bytes(b"x")
    empty = tmp_path / "empty"
    empty.mkdir()
    for spec in (whole, empty, *(tmp_path / n for n in ("broken.safetensors", "list.safetensors", "weights.pt", "no"))):
        assert not is_bare(str(spec)), spec
    assert not is_bare("zoo:mlp?width=4")


@pytest.mark.parametrize(
    "content", [b"", b"\x05", b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"x}", b"\xff" * 20]
)
def test_broken_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "a.safetensors"
    place.write_bytes(content)
    with pytest.raises(ModelError, match="is not a safetensors file: write it again"):
        read_header(place)


def test_the_question_needs_no_torch(tmp_path: Path) -> None:
    lines = (
        "import sys",
        "from brittle.checkpoints.bare import is_bare",
        f"is_bare({str(tmp_path)!r})",
        "assert 'torch' not in sys.modules",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)

"""Kept matrices: found again while nothing they depend on has changed, whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from brittle.checkpoints.measure import measure_matrix
from brittle.checkpoints.options import CheckpointOptions
from brittle.checkpoints.store import Store
from brittle.errors import UsageError
from brittle.results.layer import Unmeasured
from tests.checkpoints.made import normal, only

OPTIONS = CheckpointOptions()


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    matrix = only(tmp_path, {"a.weight": normal(5, 4, seed=0)})
    store, row = Store(tmp_path / "kept"), measure_matrix(matrix, OPTIONS)
    key = store.key(matrix, OPTIONS)
    assert store.get(key) is None
    store.put(key, row)
    assert Store(tmp_path / "kept").get(key) == row
    broken = Unmeasured("b", (3, 2), "NaN")
    store.put("0" * 64, broken)
    assert store.get("0" * 64) == broken


def test_the_key_is_of_all_that_numbers_depend_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    w = normal(5, 4, seed=0)
    matrix = only(tmp_path, {"a.weight": w})
    keys = [store.key(matrix, OPTIONS)]
    for change in ({"seed": 1}, {"k_fraction": 0.2}, {"exact_side": 3}, {"probes": 4}, {"steps": 9}):
        keys.append(store.key(matrix, replace(OPTIONS, **change)))
    when = os.stat(matrix.stored.file).st_mtime_ns
    keys.append(store.key(only(tmp_path, {"b.weight": w}), OPTIONS))
    other = only(tmp_path, {"a.weight": w + 1})
    os.utime(other.stored.file, ns=(when, when))
    keys.append(store.key(other, OPTIONS))
    assert len(set(keys)) == len(keys)
    again = only(tmp_path, {"a.weight": w})
    os.utime(again.stored.file, ns=(when, when))
    assert store.key(again, replace(OPTIONS, workers=3, time_limit=5.0)) == keys[0]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"key": "x"}', '{"key": "KEY"}', '{"key": "KEY", "row": {"spectral": 1}}']
)
def test_damaged_files_are_measured_again(tmp_path: Path, content: str) -> None:
    store = Store(tmp_path / "kept")
    key = "f" * 64
    (tmp_path / "kept" / f"matrix-{key[:24]}.json").write_text(content.replace("KEY", key))
    assert store.get(key) is None


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    store = Store(None)
    matrix = only(tmp_path, {"a.weight": normal(5, 4, seed=0)})
    key = store.key(matrix, OPTIONS)
    store.put(key, Unmeasured("a", (1,), "x"))
    assert store.get(key) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot make the folder .*; choose another place"):
        Store(tmp_path / "file")

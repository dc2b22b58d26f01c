from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brittle.data.cache import Arrays, cache_folder, cached_arrays


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"x": np.arange(1000, dtype=np.uint8)}


def _same(arrays: Arrays) -> bool:
    return list(arrays) == ["x"] and np.array_equal(arrays["x"], np.arange(1000, dtype=np.uint8))


def test_the_folder_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / "brittle"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "brittle"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "brittle"


def test_made_once_per_key_and_nothing_else_left_behind(private_cache: Path) -> None:
    make = Maker()
    assert _same(cached_arrays("a", ("x",), make))
    assert _same(cached_arrays("a", ("x",), make))
    assert make.calls == 1
    assert [item.name for item in private_cache.iterdir()] == ["a.npz"]
    cached_arrays("b", ("x",), make)
    assert make.calls == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "no zip", "other arrays", "folder"])
def test_a_damaged_entry_is_made_again(private_cache: Path, damage: str) -> None:
    make = Maker()
    cached_arrays("a", ("x",), make)
    path = private_cache / "a.npz"
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no zip":
        path.write_bytes(b"not a zip file at all")
    elif damage == "other arrays":
        np.savez(path, z=np.zeros(3))
    else:
        path.unlink()
        path.mkdir()
    assert _same(cached_arrays("a", ("x",), make))
    assert make.calls == 2
    if damage != "folder":
        assert _same(cached_arrays("a", ("x",), make))
        assert make.calls == 2, "the damaged entry was not replaced"
    assert [item.name for item in private_cache.iterdir()] == ["a.npz"], "a temporary file was left behind"


def test_a_write_that_fails_leaves_nothing_and_is_no_error(
    private_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*arguments: object, **arrays: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    assert _same(cached_arrays("a", ("x",), Maker()))
    assert list(private_cache.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **arrays: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_arrays("a", ("x",), Maker())
    assert list(private_cache.iterdir()) == []


def test_no_place_for_a_cache_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _same(cached_arrays("a", ("x",), Maker()))

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert _same(cached_arrays("a", ("x",), Maker()))

from __future__ import annotations

from pathlib import Path

import pytest

from brittle.data.location import content, existing_file, existing_folder
from brittle.errors import DataError


def test_what_exists_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(b"abc")
    assert existing_folder(str(tmp_path), "mnist:DIR") == tmp_path
    assert existing_file(file, "npz:FILE") == file
    assert content(file) == b"abc"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert existing_file("~/a.npz", "npz:FILE") == file


def test_what_does_not_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    file.touch()
    with pytest.raises(DataError, match="mnist:DIR needs a folder, got none: write it after the colon"):
        existing_folder("", "mnist:DIR")
    with pytest.raises(DataError, match=r"mnist:DIR: no such folder: .*absent; check the path"):
        existing_folder(tmp_path / "absent", "mnist:DIR")
    with pytest.raises(DataError, match=r"npz:FILE: no such file: .*absent"):
        existing_file(tmp_path / "absent", "npz:FILE")
    with pytest.raises(DataError, match=r"mnist:DIR needs a folder, .*a\.npz is a file"):
        existing_folder(file, "mnist:DIR")
    with pytest.raises(DataError, match=r"npz:FILE needs a file, .* is a folder"):
        existing_file(tmp_path, "npz:FILE")
    with pytest.raises(DataError, match=r"cannot read .* repair or delete it"):
        content(tmp_path)

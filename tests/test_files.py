"""Files are written whole or not at all, and a target that could not be written is refused before the work."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from brittle.errors import UsageError
from brittle.files import check_folder, check_writable, make_folder, replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_text_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("much longer than the new text")
    assert write_text(target, "naïve\n") == target
    assert target.read_bytes() == "naïve\n".encode()
    assert names(tmp_path) == ["a.json"]


def test_a_result_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    mask = stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(write_text(tmp_path / "a.json", "").stat().st_mode) == mask


def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")

    def interrupted() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    place = tmp_path / "real" / "a.json"
    place.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(place)
    write_text(link, "new")
    assert link.is_symlink()
    assert place.read_text() == "new"


def test_text_that_utf8_cannot_hold_is_written_escaped(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a", "name \udcff").read_text() == "name \\udcff"


@pytest.mark.parametrize("act", [check_writable, lambda path: write_text(path, "x")], ids=["check", "write"])
def test_targets_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path, act: object) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    for place in ("no/a.json", "file/a.json", "x" * 300):
        with pytest.raises(UsageError, match=r"^cannot write .*: .*; choose a folder that exists and is writable$"):
            act(tmp_path / place)
    for place in ("folder", "pipe"):
        with pytest.raises(UsageError, match=r"no plain file; choose a file that can be written$"):
            act(tmp_path / place)
    with pytest.raises(UsageError, match="no plain file"):  # must not replace the device
        act("/dev/null")
    assert names(tmp_path) == before


def test_check_writable_accepts_new_and_old_files_and_touches_neither(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.json")
    assert names(tmp_path) == []
    (tmp_path / "old.json").write_text("old")
    check_writable(tmp_path / "old.json")
    assert (tmp_path / "old.json").read_text() == "old"


def test_check_folder_makes_nothing_and_refuses_what_make_folder_could_not_make(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deep")
    check_folder(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="file is no writable folder; choose another place"):
            check_folder(place)
        with pytest.raises(UsageError, match=r"cannot make the folder .*; choose another place"):
            make_folder(place)


def test_make_folder_makes_parents_and_takes_what_is_there(tmp_path: Path) -> None:
    for _ in range(2):
        assert make_folder(tmp_path / "a" / "b").is_dir()

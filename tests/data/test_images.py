from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from brittle.data.dataset import Split
from brittle.data.images import load_images
from brittle.errors import DataError

Png = Callable[..., bytes]


@pytest.fixture
def write(tmp_path: Path, png: Png) -> Callable[[str, Iterable[int]], Path]:
    """Grey images of 5 x 4 in a folder, the i-th starting at byte i, named by i. Returns the root."""

    def make(folder: str, starts: Iterable[int]) -> Path:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for start in starts:
            (tmp_path / folder / f"{start:03}.png").write_bytes(png(start))
        return tmp_path

    return make


def _starts(split: Split) -> list[int]:
    return (split.x[:, 0, 0, 0] * 255).round().long().tolist()


def test_class_folders_are_cut_in_three(write: Callable[..., Path]) -> None:
    write("dog", range(100, 110))
    root = write("cat", range(10))
    (root / "cat" / "notes.txt").touch()
    (root / "cat" / ".hidden.png").touch()
    (root / ".git").mkdir()
    data = load_images(root)
    assert (data.name, data.classes, data.input_shape) == (f"images:{root.name}", ("cat", "dog"), (1, 4, 5))
    splits = [data.split(name) for name in ("train", "validation", "test")]
    assert [torch.bincount(split.y).tolist() for split in splits] == [[6, 6], [1, 1], [3, 3]]
    assert sorted(start for split in splits for start in _starts(split)) == [*range(10), *range(100, 110)]
    for split in splits:
        assert _starts(split) == sorted(_starts(split))
        assert [start >= 100 for start in _starts(split)] == [label == 1 for label in split.y.tolist()]


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_split_folders_are_the_splits(write: Callable[..., Path], validation: str) -> None:
    write("train/a", [1, 2])
    write(f"{validation}/a", [3])
    data = load_images(write("test/a", [4, 5]))
    assert data.splits == ("train", "validation", "test")
    assert [_starts(data.split(name)) for name in data.splits] == [[1, 2], [3], [4, 5]]


def test_validation_is_cut_from_train_where_there_is_none(write: Callable[..., Path]) -> None:
    write("train/a", range(20))
    data = load_images(write("test/a", [99]))
    train, validation = _starts(data.split("train")), _starts(data.split("validation"))
    assert len(validation) == 2
    assert sorted(train + validation) == list(range(20))
    assert _starts(data.split("test")) == [99]


def test_imagenets_val_is_the_held_out_set(write: Callable[..., Path]) -> None:
    write("train/a", range(20))
    data = load_images(write("val/a", [99]))
    assert _starts(data.split("test")) == [99]
    assert sorted(_starts(data.split("train")) + _starts(data.split("validation"))) == list(range(20))


def test_splits_that_are_not_there(write: Callable[..., Path]) -> None:
    assert load_images(write("train/a", range(20))).splits == ("train", "validation")


def test_only_test_folders(write: Callable[..., Path]) -> None:
    data = load_images(write("test/a", [3]))
    assert data.splits == ("test",)
    with pytest.raises(DataError, match="has no split 'train', only test"):
        data.split("train")


def test_broken_folders(write: Callable[..., Path], tmp_path: Path, png: Png) -> None:
    with pytest.raises(DataError, match="expected one folder per class, found none: sort"):
        load_images(tmp_path)
    with pytest.raises(DataError, match="images:DIR: no such folder"):
        load_images(tmp_path / "absent")
    write("cat", [1])
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"dog holds no images \(.*\.png.*\): add some or delete the folder"):
        load_images(tmp_path).split("train")


def test_splits_with_different_classes(write: Callable[..., Path]) -> None:
    write("train/cat", [1])
    write("train/dog", [1])
    with pytest.raises(DataError, match="the split folders differ in class 'dog'"):
        load_images(write("test/cat", [1]))


def test_broken_images_are_named(write: Callable[..., Path], png: Png) -> None:
    root = write("test/a", range(5))
    bad = root / "test" / "a" / "003.png"
    bad.write_bytes(png(shape=(5, 4)))
    with pytest.raises(DataError, match=r"003\.png is 4 x 5 grey, the images before it are 5 x 4 grey"):
        load_images(root).split("test")
    bad.write_bytes(png(3)[:40])
    with pytest.raises(DataError, match=r"cannot read the image .*003\.png"):
        load_images(root).split("test")
    bad.unlink()
    bad.symlink_to("nowhere")
    with pytest.raises(DataError, match=r"cannot read .*003\.png \(No such file or directory\)"):
        load_images(root).split("test")
    (root / "test" / "a" / "000.png").write_bytes(b"first")
    with pytest.raises(DataError, match=r"cannot read the image .*000\.png"):
        load_images(root)


def test_one_size_in_all_splits(write: Callable[..., Path], png: Png) -> None:
    write("train/a", range(20))
    root = write("test/a", [1])
    (root / "test" / "a" / "001.png").write_bytes(png(shape=(5, 4)))
    with pytest.raises(DataError, match=r"test/a/001\.png is 4 x 5 grey"):
        load_images(root).split("test")

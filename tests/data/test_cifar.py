from __future__ import annotations

import csv
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from brittle.data import cifar
from brittle.data.cifar import CLASSES, load_cifar10
from brittle.errors import DataError

Png = Callable[..., bytes]


def _batch(first: int, n: int) -> bytes:
    """n images; all pixels of the i-th are first + i; labels cycle."""
    pixels = np.repeat(np.arange(first, first + n, dtype=np.uint8), 3072).reshape(n, 3072)
    return pickle.dumps({b"data": pixels, b"labels": [i % 10 for i in range(n)]}, 2)


def _batches(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(5):
        (folder / f"data_batch_{i + 1}").write_bytes(_batch(20 * i, 20))
    (folder / "test_batch").write_bytes(_batch(200, 10))
    return folder


def _tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, blob in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            archive.addfile(info, io.BytesIO(blob))


def _jpeg_archive(folder: Path, part: str, png: Png, names: list[str]) -> Path:
    """Images (PNG inside, so that pixels are exact) in the order given, the i-th starting at byte i."""
    path = folder / f"cifar10_{part}_jpg.tar.gz"
    _tar(path, {name: png(i, shape=(32, 32, 3)) for i, name in enumerate(names)})
    return path


def _firsts(x: torch.Tensor) -> list[int]:
    return (x[:, 0, 0, 0] * 255).round().long().tolist()


@pytest.mark.parametrize("form", ["folder", "parent", "archive"])
def test_python_batches(tmp_path: Path, form: str) -> None:
    folder = _batches(tmp_path / "cifar-10-batches-py")
    if form == "archive":
        blobs = {f"cifar-10-batches-py/{item.name}": item.read_bytes() for item in folder.iterdir()}
        _tar(tmp_path / "cifar-10-python.tar.gz", blobs)
        for item in folder.iterdir():
            item.unlink()
        folder.rmdir()
    data = load_cifar10(folder if form == "folder" else tmp_path)
    assert (data.name, data.classes, data.input_shape) == ("cifar10", CLASSES, (3, 32, 32))
    test = data.split("test")
    assert (_firsts(test.x), test.y.tolist()) == (list(range(200, 210)), list(range(10)))
    train, validation = data.split("train"), data.split("validation")
    assert (len(train), torch.bincount(validation.y).tolist()) == (90, [1] * 10)
    assert sorted(_firsts(train.x) + _firsts(validation.x)) == list(range(100))
    assert _firsts(train.x) == sorted(_firsts(train.x))  # the batches' order
    assert all(first % 10 == label for first, label in zip(_firsts(train.x), train.y.tolist(), strict=True))


def test_only_the_files_asked_for_are_read(tmp_path: Path) -> None:
    folder = _batches(tmp_path)
    (folder / "data_batch_3").unlink()
    data = load_cifar10(folder)
    assert len(data.split("test")) == 10
    with pytest.raises(DataError, match=r"no data_batch_3 in .*: unpack cifar-10-python.tar.gz again"):
        data.split("train")
    _tar(tmp_path / "cifar-10-python.tar.gz", {"cifar-10-batches-py/data_batch_1": _batch(0, 1)})
    for item in [*folder.glob("data_batch_*"), folder / "test_batch"]:
        item.unlink()
    with pytest.raises(DataError, match="holds no test_batch: download it again"):
        load_cifar10(folder).split("test")


def test_labels_out_of_range(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3072), np.uint8)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": pixels, b"labels": [10]}, 2))
    with pytest.raises(DataError, match=r"cifar10, split test: labels must be class indices 0 .. 9, got 10 .. 10"):
        load_cifar10(tmp_path).split("test")


def test_image_archives_are_sorted_by_class_then_name(tmp_path: Path, png: Png) -> None:
    names = ["test/truck/0000.jpg", "test/bird/0001.jpg", "test/airplane/0007.jpg", "test/bird/0000.jpg", "README.md"]
    _jpeg_archive(tmp_path, "test", png, names)
    data = load_cifar10(tmp_path)
    test = data.split("test")
    assert data.name == "cifar10-jpeg"
    assert (_firsts(test.x), test.y.tolist()) == ([2, 3, 1, 0], [0, 2, 2, 9])
    with pytest.raises(DataError, match=r"no cifar10_train_jpg\.tar\.gz in .*: put the archive there"):
        data.split("train")


def test_image_archives_are_decoded_once_per_content(
    tmp_path: Path, png: Png, private_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _jpeg_archive(tmp_path, "test", png, ["test/cat/0000.jpg"])
    first = load_cifar10(tmp_path).split("test").sha256()
    (entry,) = private_cache.iterdir()
    calls: list[int] = []
    real = cifar.decode_stack
    monkeypatch.setattr(cifar, "decode_stack", lambda *given: calls.append(1) or real(*given))
    assert load_cifar10(tmp_path).split("test").sha256() == first
    assert calls == []
    entry.write_bytes(entry.read_bytes()[:-100])
    assert load_cifar10(tmp_path).split("test").sha256() == first
    assert calls == [1]
    _tar(path, {"test/cat/0000.jpg": png(9, shape=(32, 32, 3))})
    assert load_cifar10(tmp_path).split("test").sha256() != first


def test_broken_image_archives(tmp_path: Path, png: Png, private_cache: Path) -> None:
    path = _jpeg_archive(tmp_path, "test", png, ["test/cat/0000.jpg", "test/dog/0000.jpg"])
    whole = path.read_bytes()

    def expect(message: str) -> None:
        with pytest.raises(DataError, match=message):
            load_cifar10(tmp_path).split("test")

    for blob in (whole[: len(whole) // 2], b"no archive", b""):
        path.write_bytes(blob)
        expect(r"cifar10_test_jpg\.tar\.gz is truncated or not a tar archive")
    _jpeg_archive(tmp_path, "test", png, ["test/cat/0000.jpg", "test/wolf/0000.jpg"])
    expect("test/wolf/0000.jpg is in no folder named after a class of CIFAR-10")
    _jpeg_archive(tmp_path, "test", png, ["README.md"])
    expect("holds no images")
    _tar(path, {"test/cat/0000.jpg": b"no image"})
    expect(r"cannot read the image .*test/cat/0000\.jpg")
    _tar(path, {"test/cat/0000.jpg": png(shape=(16, 16, 3))})
    expect(r"test/cat/0000\.jpg is 16 x 16 RGB, .* 32 x 32 RGB")
    assert not private_cache.exists() or list(private_cache.iterdir()) == []


def test_image_folders(tmp_path: Path, png: Png) -> None:
    for label, name in enumerate(CLASSES):
        folder = tmp_path / "test" / name
        folder.mkdir(parents=True)
        (folder / "0000.png").write_bytes(png(label, shape=(32, 32, 3)))
    data = load_cifar10(tmp_path)
    assert (data.name, data.splits) == ("cifar10-images", ("test",))
    assert _firsts(data.split("test").x) == data.split("test").y.tolist() == list(range(10))
    (tmp_path / "test" / "truck").rename(tmp_path / "test" / "lorry")
    with pytest.raises(DataError, match=r"expected the class folders airplane .* truck, got airplane .* lorry"):
        load_cifar10(tmp_path)


def test_a_folder_with_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no CIFAR-10: expected cifar-10-batches-py, .*; name the folder"):
        load_cifar10(tmp_path)
    with pytest.raises(DataError, match="cifar10:DIR: no such folder"):
        load_cifar10(tmp_path / "absent")


def test_real_test_images(shared: Callable[[str], Path]) -> None:
    test = load_cifar10(shared("cifar10_jpeg")).split("test")
    assert torch.bincount(test.y).tolist() == [1000] * 10
    assert bool((test.y.diff() >= 0).all())
    # CIFAR-10's test images have about the training images' mean
    assert test.x.mean((0, 2, 3)).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.005)


@pytest.mark.slow
def test_real_training_images(shared: Callable[[str], Path]) -> None:
    """Against the README's channel means, and image by image against the lossless originals."""
    originals = shared("cifar10_lossless4000")
    x, y = cifar._images(shared("cifar10_jpeg"), "train")
    assert np.bincount(y).tolist() == [5000] * 10
    assert (x.mean((0, 2, 3), dtype=np.float64) / 255).tolist() == pytest.approx([0.49125, 0.48209, 0.44652], abs=1e-4)
    sheet = np.asarray(Image.open(originals / "cifar10_batch_0.png").convert("RGB")).reshape(1000, 32, 32, 3)
    with (originals / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["batch_png"] == "0"]
    for row in rows[:300]:
        place = int(row["label"]) * 5000 + int(Path(row["matched_jpg"]).stem)
        original = sheet[int(row["row"])].transpose(2, 0, 1).astype(float)
        assert y[place] == int(row["label"])
        # JPEG noise alone: 7.6 of 255 in the median, while two different images are some 60 apart
        assert float(np.sqrt(((x[place] - original) ** 2).mean())) < 25

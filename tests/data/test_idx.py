from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from brittle.data.idx import load_fashion_mnist, load_mnist, read_idx
from brittle.errors import DataError

TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def test_test_images_come_in_file_order(mnist_folder: Path) -> None:
    data = load_mnist(mnist_folder)
    assert (data.name, data.input_shape, len(data.classes)) == ("mnist", (1, 2, 3), 10)
    test = data.split("test")
    assert test.y.tolist() == [i % 10 for i in range(20)]
    assert torch.equal((test.x * 255).round().amin((1, 2, 3)), torch.arange(20.0))


def test_train_and_validation_divide_the_training_file(mnist_folder: Path) -> None:
    data = load_mnist(mnist_folder)
    train, validation = data.split("train"), data.split("validation")
    assert (len(train), len(validation)) == (36, 4)
    for split in (train, validation):
        number = (split.x[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(number % 10, split.y)
        assert bool((number.diff() > 0).all())
    both = torch.cat([train.x, validation.x])[:, 0, 0, 0]
    assert (both * 255).round().sort().values.tolist() == list(range(40))


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
@pytest.mark.parametrize("name", ["{}-idx{}-ubyte", "{}.idx{}-ubyte"])
def test_plain_files_other_spellings_and_torchvisions_folders(
    tmp_path: Path, idx_bytes: Callable[..., bytes], place: str, name: str
) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name.format("t10k-images", 3)).write_bytes(idx_bytes(bytes(range(4)), 1, 2, 2))
    (folder / name.format("t10k-labels", 1)).write_bytes(idx_bytes(b"\x07", 1))
    assert load_fashion_mnist(tmp_path).split("test").y.tolist() == [7]


def test_fashion_mnist_has_names_of_clothes(mnist_folder: Path) -> None:
    data = load_fashion_mnist(mnist_folder)
    assert data.name == "fashion-mnist"
    assert (len(data.classes), data.classes[9]) == (10, "ankle boot")


def test_missing_files_are_named(mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (mnist_folder / TEST_LABELS).unlink()
    data = load_mnist(mnist_folder)
    assert len(data.split("train")) == 36
    with pytest.raises(DataError, match=r"no t10k-labels-idx1-ubyte.gz \(or without .gz\) in .*: put the file there"):
        data.split("test")
    with pytest.raises(DataError, match=r"mnist: expected train-images-idx3-ubyte.gz or .* found neither"):
        load_mnist(tmp_path_factory.mktemp("empty"))
    with pytest.raises(DataError, match="mnist:DIR: no such folder"):
        load_mnist(mnist_folder / "absent")
    with pytest.raises(DataError, match="fashion-mnist:DIR: no such folder"):
        load_fashion_mnist(mnist_folder / "absent")


def test_wrong_magic(tmp_path: Path, idx_bytes: Callable[..., bytes]) -> None:
    file = tmp_path / "file"
    for content, start in (
        (idx_bytes(bytes(4), 4), "00000801"),  # labels where images are expected
        (idx_bytes(bytes(16), 1, 2, 2, kind=13), "00000d03"),  # floats
        (b"<html>not found", "3c68746d"),
        (b"", "nothing"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"starts with {start}, expected 00000803") as caught:
            read_idx(file, 3)
        assert "\n" not in str(caught.value)


def test_wrong_magic_is_met_before_any_split_is_asked_for(mnist_folder: Path) -> None:
    (mnist_folder / TEST_IMAGES).write_bytes(gzip.compress(b"not an idx file"))
    with pytest.raises(DataError, match="starts with 6e6f7420"):
        load_mnist(mnist_folder)


def test_truncated_and_broken_gzip(mnist_folder: Path) -> None:
    file = mnist_folder / TEST_IMAGES
    whole = file.read_bytes()
    file.write_bytes(whole[:-12])
    with pytest.raises(DataError, match=r"t10k-images.* is truncated or not a gzip file .*: download the file again"):
        load_mnist(mnist_folder).split("test")
    file.write_bytes(gzip.decompress(whole))
    with pytest.raises(DataError, match="is truncated or not a gzip file"):
        load_mnist(mnist_folder)
    file.write_bytes(whole[:20] + bytes([whole[20] ^ 255, whole[21] ^ 255]) + whole[22:])
    with pytest.raises(DataError, match="t10k-images"):
        load_mnist(mnist_folder).split("test")


def test_counts_that_disagree(tmp_path: Path, idx_bytes: Callable[..., bytes], mnist_folder: Path) -> None:
    file = tmp_path / "file"
    for n in (7, 9):
        file.write_bytes(idx_bytes(bytes(n), 2, 2, 2))
        with pytest.raises(DataError, match=rf"promises 8 values \(2, 2, 2\) but holds {n}"):
            read_idx(file, 3)
    file.write_bytes(idx_bytes(b"", 2, 2, 2)[:10])
    with pytest.raises(DataError, match="ends inside its header"):
        read_idx(file, 3)
    (mnist_folder / TEST_LABELS).write_bytes(gzip.compress(idx_bytes(bytes(19), 19)))
    with pytest.raises(DataError, match=r"t10k-images.* holds 20 images but t10k-labels.* 19 labels"):
        load_mnist(mnist_folder).split("test")


def test_labels_out_of_range(mnist_folder: Path, idx_bytes: Callable[..., bytes]) -> None:
    (mnist_folder / TEST_LABELS).write_bytes(gzip.compress(idx_bytes(bytes([10] * 20), 20)))
    with pytest.raises(DataError, match=r"mnist, split test: labels must be class indices 0 .. 9, got 10 .. 10"):
        load_mnist(mnist_folder).split("test")


def test_real_mnist(shared: Callable[[str], Path]) -> None:
    data = load_mnist(shared("mnist"))
    train, validation, test = (data.split(name) for name in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (54000, 6000, 10000)
    counts = torch.bincount(train.y) + torch.bincount(validation.y)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.y[:5].tolist() == [7, 2, 1, 0, 4]  # the well-known first digits of the test file


def test_real_fashion_mnist(shared: Callable[[str], Path]) -> None:
    data = load_fashion_mnist(shared("fashion_mnist"))
    train, validation, test = (data.split(name) for name in ("train", "validation", "test"))
    assert (torch.bincount(train.y) + torch.bincount(validation.y)).tolist() == [6000] * 10
    assert torch.bincount(validation.y).tolist() == [600] * 10
    assert torch.bincount(test.y).tolist() == [1000] * 10
    # the published mean and standard deviation of the 60000 training images
    pixels = torch.cat([train.x, validation.x]).double()
    assert float(pixels.mean()) == pytest.approx(0.28604, abs=1e-5)
    assert float(pixels.std()) == pytest.approx(0.35302, abs=1e-5)

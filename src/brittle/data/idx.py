"""MNIST and Fashion-MNIST as their authors distribute them: idx files, gzipped or not.

An idx file is two zero bytes, a type byte (8 is unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit integer, then the values (yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.location import existing_folder
from brittle.data.order import TRAINING, stratified_part
from brittle.data.split import unit_pixels
from brittle.errors import DataError

_FASHION = ("t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_PREFIX = {"train": "train", "validation": "train", "test": "t10k"}
# As distributed, and where torchvision's download puts the files below its root.
_PLACES = (".", "raw", "MNIST/raw", "FashionMNIST/raw")
_REMEDY = "download the file again"


def load_mnist(location: str | Path) -> Dataset:
    """MNIST from a folder with `{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`: x (n, 1, 28, 28) = byte / 255.

    "test" is the t10k pair; "validation" is a fixed stratified tenth of the training pair and "train" the rest.
    Only the files of the split that is asked for need to be there.

    Raises:
        DataError: the folder or all image files are missing; when a split is read: a file is missing, truncated, has
            another magic number or another number of values than it says, or images and labels differ in number.
    """
    return _load_idx(existing_folder(location, "mnist:DIR"), "mnist", tuple("0123456789"))


def load_fashion_mnist(location: str | Path) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017), everything else as in `load_mnist`."""
    return _load_idx(existing_folder(location, "fashion-mnist:DIR"), "fashion-mnist", _FASHION)


def _load_idx(folder: Path, name: str, classes: tuple[str, ...]) -> Dataset:
    first = next((found for prefix in ("t10k", "train") if (found := _find(folder, f"{prefix}-images", 3))), None)
    if first is None:
        raise DataError(
            f"{name}: expected train-images-idx3-ubyte.gz or t10k-images-idx3-ubyte.gz in {folder}, found neither:"
            " name the folder that holds the four idx files"
        )
    _, rows, columns = _shape(_content(first, 16), first, 3)
    return Dataset(name, classes, (1, rows, columns), tuple(_PREFIX), partial(_load, folder))


def _load(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    prefix = _PREFIX[name]
    image_file, label_file = _required(folder, f"{prefix}-images", 3), _required(folder, f"{prefix}-labels", 1)
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} holds {len(images)} images but {label_file.name} {len(labels)} labels:"
            " take both files from one source"
        )
    if prefix == "train":
        index = stratified_part(name, labels, TRAINING)
        images, labels = images[index], labels[index]
    return unit_pixels(images[:, None]), torch.from_numpy(labels.astype(np.int64))


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes in an idx file (gzipped where the name ends in .gz), as an array of `dimensions` dimensions.

    Raises:
        DataError: another magic number, a truncated or broken file, more or fewer values than the header says.
    """
    content = _content(path, -1)
    shape = _shape(content, path, dimensions)
    values = memoryview(content)[4 + 4 * dimensions :]
    if len(values) != math.prod(shape):
        raise DataError(f"{path} promises {math.prod(shape)} values {shape} but holds {len(values)}: {_REMEDY}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _content(path: Path, limit: int) -> bytes:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not a gzip file ({error}): {_REMEDY}") from None


def _shape(content: bytes, path: Path, dimensions: int) -> tuple[int, ...]:
    expected = bytes((0, 0, 8, dimensions))
    if content[:4] != expected:
        raise DataError(
            f"{path} starts with {content[:4].hex() or 'nothing'}, expected {expected.hex()}"
            f" (idx, unsigned bytes, {dimensions} dimensions): give the file as distributed"
        )
    if len(content) < 4 + 4 * dimensions:
        raise DataError(f"{path} ends inside its header: {_REMEDY}")
    return struct.unpack_from(f">{dimensions}I", content, 4)


def _find(folder: Path, stem: str, dimensions: int) -> Path | None:
    # Some mirrors write a dot where the originals have a dash.
    names = [f"{stem}{dot}idx{dimensions}-ubyte{ending}" for dot in "-." for ending in (".gz", "")]
    return next(
        (folder / place / name for place in _PLACES for name in names if (folder / place / name).is_file()), None
    )


def _required(folder: Path, stem: str, dimensions: int) -> Path:
    found = _find(folder, stem, dimensions)
    if found is None:
        raise DataError(f"no {stem}-idx{dimensions}-ubyte.gz (or without .gz) in {folder}: put the file there")
    return found

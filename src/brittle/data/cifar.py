"""CIFAR-10 (Krizhevsky 2009) from what is found in a folder: python batches, image folders, or archives of images."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brittle.data.cache import Arrays, cached_arrays
from brittle.data.cifar_batches import read_batch
from brittle.data.dataset import Dataset
from brittle.data.decode import decode_stack
from brittle.data.images import image_dataset
from brittle.data.location import content, existing_folder
from brittle.data.order import TRAINING, stratified_part
from brittle.data.split import unit_pixels
from brittle.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHAPE = (3, 32, 32)
_SPLITS = ("train", "validation", "test")
_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_BATCH_FOLDER, _BATCH_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"

# Reads "train" (before validation is cut from it) or "test" from a folder.
_Reader = Callable[[Path, str], tuple[NDArray[np.uint8], NDArray[np.int64]]]


def load_cifar10(location: str | Path) -> Dataset:
    """CIFAR-10: x (n, 3, 32, 32) = byte / 255. Reads the first of these that the folder holds:

    * the python batches, in `cifar-10-batches-py`, in the folder itself, or in `cifar-10-python.tar.gz`
      (named "cifar10"; read without running code from the pickles);
    * `{train,test}/CLASS/*.jpg` (or another image format; named "cifar10-images", layout as in `load_images`);
    * `cifar10_{train,test}_jpg.tar.gz` with the same layout inside (named "cifar10-jpeg": JPEG is lossy, so accuracies
      on it compare only with each other). Decoded once, then kept in the cache folder, see `brittle.data.cache`.

    "validation" is a fixed stratified tenth of the training images, "train" the rest. Order: as in the batches, else
    by class and file name. Only the files of the split that is asked for need to be there.

    Raises:
        DataError: nothing of this in the folder, or other classes; when a split is read: a missing or broken file.
    """
    root = existing_folder(location, "cifar10:DIR")
    for folder in (root / _BATCH_FOLDER, root):
        if any((folder / name).is_file() for names in _BATCHES.values() for name in names):
            return _dataset("cifar10", folder, _batches)
    if (root / _BATCH_ARCHIVE).is_file():
        return _dataset("cifar10", root, _archived_batches)
    if any((root / name).is_dir() for name in ("train", "test")):
        images = image_dataset(root, "cifar10-images")
        if images.classes != CLASSES:
            raise DataError(f"{root}: expected the class folders {' '.join(CLASSES)}, got {' '.join(images.classes)}")
        return images
    if any(_archive(root, part).is_file() for part in ("train", "test")):
        return _dataset("cifar10-jpeg", root, _images)
    raise DataError(
        f"{root} holds no CIFAR-10: expected {_BATCH_FOLDER}, {_BATCH_ARCHIVE}, train and test folders of images, or"
        f" {_archive(root, 'test').name}; name the folder that does"
    )


def _dataset(name: str, folder: Path, reader: _Reader) -> Dataset:
    return Dataset(name, CLASSES, _SHAPE, _SPLITS, partial(_load, reader, folder))


def _load(reader: _Reader, folder: Path, name: str) -> tuple[Tensor, Tensor]:
    images, labels = reader(folder, "test" if name == "test" else "train")
    if name != "test":
        index = stratified_part(name, labels, TRAINING)
        images, labels = images[index], labels[index]
    return unit_pixels(images), torch.from_numpy(labels)


def _batches(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    for name in _BATCHES[part]:
        if not (folder / name).is_file():
            raise DataError(f"no {name} in {folder}: unpack cifar-10-python.tar.gz again")
    read = [read_batch(content(folder / name), str(folder / name)) for name in _BATCHES[part]]
    return np.concatenate([images for images, _ in read]), np.concatenate([labels for _, labels in read])


def _archived_batches(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    path = folder / _BATCH_ARCHIVE
    found = {PurePosixPath(name).name: blob for name, blob in _members(path).items()}
    for name in _BATCHES[part]:
        if name not in found:
            raise DataError(f"{path} holds no {name}: download it again")
    read = [read_batch(found[name], f"{path}: {name}") for name in _BATCHES[part]]
    return np.concatenate([images for images, _ in read]), np.concatenate([labels for _, labels in read])


def _archive(folder: Path, part: str) -> Path:
    return folder / f"cifar10_{part}_jpg.tar.gz"


def _images(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    path = _archive(folder, part)
    if not path.is_file():
        raise DataError(f"no {path.name} in {folder}: put the archive there")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stored = cached_arrays(f"cifar10-{part}-{digest}", ("x", "y"), partial(_decode_archive, path))
    return stored["x"], stored["y"].astype(np.int64)


def _decode_archive(path: Path) -> Arrays:
    members = {name: blob for name, blob in _members(path).items() if name.lower().endswith((".jpg", ".jpeg", ".png"))}
    if not members:
        raise DataError(f"{path} holds no images: expected {{train,test}}/CLASS/*.jpg inside")
    order = sorted(members, key=lambda name: PurePosixPath(name).parts[-2:])
    for name in order:
        if PurePosixPath(name).parent.name not in CLASSES:
            raise DataError(f"{path}: {name} is in no folder named after a class of CIFAR-10 ({' '.join(CLASSES)})")
    x = decode_stack(((f"{path}: {name}", members[name]) for name in order), _SHAPE)
    y = np.array([CLASSES.index(PurePosixPath(name).parent.name) for name in order], np.uint8)
    return {"x": x, "y": y}


def _members(path: Path) -> dict[str, bytes]:
    """Every plain file in the archive. Nothing is unpacked to disk, so no member can land outside a folder."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    members[member.name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not a tar archive ({error}): download it again") from None
    return members

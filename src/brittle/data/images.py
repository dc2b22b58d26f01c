"""A folder per class, with or without split folders above: the layout of ImageNet and of most exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.decode import decode_image, decode_stack
from brittle.data.location import content, existing_folder
from brittle.data.order import TRAINING, WHOLE, stratified_part
from brittle.data.split import unit_pixels
from brittle.errors import DataError

_PARTS = ("train", "validation", "test")
_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm"})


@dataclass(frozen=True)
class _Part:
    """Which images a split takes from a folder: all of them, or its share of a stratified cut."""

    folder: Path
    deal: tuple[str, ...] | None


def load_images(location: str | Path) -> Dataset:
    """Images (n, c, h, w) = byte / 255 from `DIR/CLASS/*.png` (and jpg, bmp, webp, tif, gif, pgm, ppm).

    Labels are the class folders in sorted order, samples are sorted by class folder, then file name.

    * `DIR/CLASS`: "train", "validation", "test" are a fixed stratified cut of 60, 10 and 30 percent.
    * `DIR/{train,validation,test}/CLASS` (or `val`): these are the splits. Without a validation folder "validation"
      is a fixed stratified tenth of train. `train` and `val` without `test` (ImageNet's layout): `val` is held-out
      data, so it becomes "test", and "validation" is cut from train.

    Raises:
        DataError: no folder, no classes, a class without images, split folders with different classes, a first image
            that cannot be read; when a split is read: any unreadable image, or one of another size or colour.
    """
    root = existing_folder(location, "images:DIR")
    return image_dataset(root, f"images:{root.resolve().name}")


def image_dataset(root: Path, name: str) -> Dataset:
    """What `load_images` returns for an existing folder, under another name."""
    parts = _parts(root)
    classes: tuple[str, ...] = ()
    for part in parts.values():
        found = _classes(part.folder)
        if classes and found != classes:
            odd = sorted(set(found) ^ set(classes))[0]
            raise DataError(
                f"{root}: the split folders differ in class {odd!r}: give each split the same class folders"
            )
        classes = found
    first = _files(next(iter(parts.values())).folder, classes)[0][0]
    shape = decode_image(content(first), str(first)).shape
    return Dataset(name, classes, shape, tuple(parts), partial(_load, parts, classes, shape))


def _parts(root: Path) -> dict[str, _Part]:
    have = {name: root / name for name in ("train", "validation", "val", "test") if _folders(root / name)}
    if not have:
        return {name: _Part(root, WHOLE) for name in _PARTS}
    held_out = have.get("validation") or have.get("val")
    parts: dict[str, _Part] = {}
    if "train" in have and held_out and "test" in have:
        parts["train"] = _Part(have["train"], None)
    elif "train" in have:
        parts |= {name: _Part(have["train"], TRAINING) for name in ("train", "validation")}
    if held_out and "test" in have:
        parts["validation"] = _Part(held_out, None)
    test = have.get("test") or held_out
    if test:
        parts["test"] = _Part(test, None)
    return parts


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir() and item.name[0] != ".") if path.is_dir() else []


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(item.name for item in _folders(folder))
    if not names:
        raise DataError(f"{folder}: expected one folder per class, found none: sort the images into class folders")
    return names


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        inside = [item for item in (folder / name).iterdir() if item.suffix.lower() in _ENDINGS and item.name[0] != "."]
        if not inside:
            endings = " ".join(sorted(_ENDINGS))
            raise DataError(f"{folder / name} holds no images ({endings}): add some or delete the folder")
        files += [(item, label) for item in sorted(inside)]
    return files


def _load(
    parts: dict[str, _Part], classes: tuple[str, ...], shape: tuple[int, ...], name: str
) -> tuple[Tensor, Tensor]:
    part = parts[name]
    files = _files(part.folder, classes)
    labels = np.array([label for _, label in files], np.int64)
    if part.deal is not None:
        index = stratified_part(name, labels, part.deal)
        files, labels = [files[i] for i in index], labels[index]
    return unit_pixels(decode_stack(_contents(files), shape)), torch.from_numpy(labels)


def _contents(files: list[tuple[Path, int]]) -> Iterator[tuple[str, bytes]]:
    for path, _ in files:
        yield str(path), content(path)

"""One .npz file of arrays: the shortest way for anybody's own data."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.location import existing_file
from brittle.data.order import TRAINING, WHOLE, stratified_part
from brittle.data.split import check_labels, unit_pixels
from brittle.errors import DataError

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class _Part:
    """Which samples a split takes from a pair of arrays: all of them, or its share of a stratified cut."""

    x: str
    y: str
    deal: tuple[str, ...] | None


def load_npz(location: str | Path) -> Dataset:
    """Arrays written by `numpy.savez(FILE, x=..., y=...)`.

    * `x`: floats in [0, 1], or unsigned bytes (divided by 255), of shape (n, c, h, w), (n, h, w) (grey, becomes
      (n, 1, h, w)) or (n, d) (inputs that are not images, kept as they are); `y`: integers (n,).
      The splits are a fixed stratified cut of 60, 10 and 30 percent.
    * or `x_train`, `y_train`, `x_test`, `y_test`, `x_validation`, `y_validation`, or some of these pairs: these are the
      splits. With a train but no validation pair, "validation" is a fixed stratified tenth of train.
    * `classes` (optional): the class names, an array of strings. Else "0", "1", ... up to the largest label.

    Raises:
        DataError: no such file, not an npz file, arrays that need pickle, missing keys, a wrong shape, or labels that
            are not class indices; when a split is read: anything else that fails `check_split`.
    """
    path = existing_file(location, "npz:FILE")
    shapes = _shapes(path)
    parts = _parts(path, frozenset(shapes))
    names = tuple(str(name) for name in _array(path, "classes").reshape(-1)) if "classes" in shapes else None
    known = None if names is None else len(names)
    largest = max(int(_labels(path, key, known).max()) for key in {part.y for part in parts.values()})
    classes = names or tuple(str(label) for label in range(largest + 1))
    first = next(iter(parts.values())).x
    return Dataset(
        f"npz:{path.stem}",
        classes,
        _input_shape(shapes[first], f"{path}: {first}"),
        tuple(parts),
        partial(_load, path, parts),
    )


def _parts(path: Path, keys: frozenset[str]) -> dict[str, _Part]:
    whole = {"x", "y"} <= keys
    given = {part: _Part(f"x_{part}", f"y_{part}", None) for part in _PARTS if {f"x_{part}", f"y_{part}"} <= keys}
    if whole == bool(given):
        raise DataError(
            f"{path} holds {', '.join(sorted(keys)) or 'nothing'}: expected either x and y,"
            " or x_train, y_train, x_test, y_test (and x_validation, y_validation); save it with numpy.savez"
        )
    if whole:
        return {part: _Part("x", "y", WHOLE) for part in _PARTS}
    if "train" in given and "validation" not in given:
        given |= {part: _Part("x_train", "y_train", TRAINING) for part in ("train", "validation")}
    return {part: given[part] for part in _PARTS if part in given}


def _load(path: Path, parts: dict[str, _Part], name: str) -> tuple[Tensor, Tensor]:
    part = parts[name]
    x, y = _array(path, part.x), _array(path, part.y)
    if len(x) != len(y):
        raise DataError(f"{path}: {part.x} holds {len(x)} samples, {part.y} {len(y)} labels: save them together")
    if x.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        raise DataError(f"{path}: {part.x} is {x.dtype}, expected floats in [0, 1] or unsigned bytes: save x / 255")
    x = x.reshape(len(x), *_input_shape(x.shape, f"{path}: {part.x}"))
    if part.deal is not None:
        index = stratified_part(name, y, part.deal)
        x, y = x[index], y[index]
    return unit_pixels(x) if x.dtype == np.uint8 else torch.from_numpy(x), torch.from_numpy(y)


def _input_shape(shape: tuple[int, ...], source: str) -> tuple[int, ...]:
    if len(shape) not in (2, 3, 4):
        raise DataError(f"{source} has shape {shape}, expected (n, c, h, w), (n, h, w) or (n, d): reshape it")
    if len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3):
        raise DataError(f"{source} has shape {shape}, channels last: save x.transpose(0, 3, 1, 2) instead")
    return (1, *shape[1:]) if len(shape) == 3 else shape[1:]


def _labels(path: Path, key: str, classes: int | None) -> Tensor:
    y = _array(path, key)
    if y.ndim != 1 or len(y) == 0 or y.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {key} must be integer class indices of shape (n,), got {y.dtype} of shape {y.shape}:"
            " save y.astype('int64'), after y.argmax(1) for one-hot labels"
        )
    return check_labels(torch.from_numpy(y), classes, f"{path}: {key}")


def _array(path: Path, key: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            array: NDArray[Any] = stored[key]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot read {key} ({error}): save it again with numpy.savez, without objects"
        ) from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The arrays' names and shapes, from their headers: so a large training part is not read when only test is."""
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in (name for name in archive.namelist() if name.endswith(".npy")):
                with archive.open(name) as file:
                    version = np.lib.format.read_magic(file)
                    header = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shapes[name.removesuffix(".npy")] = header(file)[0]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{path} is not a whole npz file ({error}): save it again with numpy.savez") from None
    return shapes

"""Handwritten digits that come with scikit-learn: 1797 real scans, no download. The data of the demo and the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.order import WHOLE, stratified_part
from brittle.errors import DataError


def load_digits(location: str | Path = "") -> Dataset:
    """8 x 8 grey images (n, 1, 8, 8) of the digits 0 to 9; pixel = scikit-learn's 0 .. 16 divided by 16.

    The splits are a fixed stratified cut of 60, 10 and 30 percent, independent of any seed.
    Source: the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI repository).

    Raises:
        DataError: a location is given; there is nothing to read from it.
    """
    if str(location) != "":
        raise DataError(f"digits comes with the library and takes no path, got {str(location)!r}: write just digits")
    return Dataset("digits", tuple("0123456789"), (1, 8, 8), ("train", "validation", "test"), _load)


def _load(name: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits as sklearn_digits  # slow to import, and only this data set needs it

    values, labels = sklearn_digits(return_X_y=True)
    index = stratified_part(name, labels, WHOLE)
    x = (values[index] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return torch.from_numpy(x), torch.from_numpy(labels[index].astype(np.int64))

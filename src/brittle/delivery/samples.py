"""Which samples choices are made from, which the recovery learns from, and which everything is scored on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.order import TRAINING, stratified_part
from brittle.data.split import Split
from brittle.errors import DataError


def with_training_part(data: Dataset) -> tuple[Dataset, str]:
    """The data with the splits train, validation and test, and where the first two come from.

    Data that have all three are returned as they are. A missing validation split is cut from the training split, a
    tenth of every class. Of data with nothing but a test split, the even positions become training and validation
    samples, and only the odd ones are scored.

    Raises:
        DataError: no test split, too few samples to share out, or whatever reading a split raises.
    """
    if "test" not in data.splits:
        have = ", ".join(data.splits)
        raise DataError(f"{data.name} has no test split to score on, only {have}: give data with one")
    if "train" in data.splits and "validation" in data.splits:
        return data, "train"
    if "train" in data.splits:
        return _made(data, data.split("train"), data.split("test")), "train"
    test = data.split("test")
    learn, score = (test.at(np.arange(start, len(test), 2)) for start in (0, 1))
    return _made(data, learn, score), "half of test"


def _made(data: Dataset, learn: Split, test: Split) -> Dataset:
    parts = {name: stratified_part(name, learn.y.numpy(), TRAINING) for name in ("train", "validation")}
    if not all(len(index) for index in parts.values()) or not len(test):
        raise DataError(
            f"{data.name} has {len(learn)} samples to learn from: at least 10 are needed, a tenth of them to choose by"
        )
    splits = {**{name: learn.at(index) for name, index in parts.items()}, "test": test}
    return Dataset(data.name, data.classes, data.input_shape, tuple(splits), _reader(splits))


def _reader(splits: dict[str, Split]) -> Callable[[str], tuple[Tensor, Tensor]]:
    return lambda name: (splits[name].x, splits[name].y)

"""What a trial learns and what it is scored on, kept apart: nothing that makes a network ever holds the test split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.errors import DataError
from brittle.studies.synthetic import load_synthetic

# More validation samples than this would only make the choice of an epoch dearer.
MOST_VALIDATION = 2000


@dataclass(frozen=True, eq=False)
class Learning:
    """All that the making of a network may look at.

    Attributes:
        train: samples to learn from; also those that choices (compression, directions, heads) are made on.
        validation: samples to choose the epoch by.
        classes: how many.
    """

    train: Split
    validation: Split
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input."""
        return tuple(self.train.x.shape[1:])

    def sha256(self) -> str:
        """Hex digest of both splits."""
        return f"{self.train.sha256()}{self.validation.sha256()}"


@dataclass(frozen=True, eq=False)
class Task:
    """A task: what may be learned from, and the samples that only measures see."""

    learning: Learning
    test: Split


@lru_cache(maxsize=4)
def task_of(data: str, train: int | None, test: int, data_seed: int) -> Task:
    """The task of a DATA string, `synthetic:NAME`, or `classes:0-4:DATA` (those classes alone, numbered from 0).

    Args:
        data: where from; it needs the splits train, validation and test.
        train: training samples (None: all), drawn by `data_seed`, as are at most 2,000 validation samples.
        test: test samples; all where there are fewer.
        data_seed: of the samples.

    Raises:
        DataError: unknown data, a missing split, or classes that the data have not.
    """
    dataset = dataset_of(data)
    learning = Learning(
        dataset.split("train").take(train, data_seed),
        dataset.split("validation").take(MOST_VALIDATION, data_seed),
        len(dataset.classes),
    )
    return Task(learning, dataset.split("test").take(test, data_seed))


def dataset_of(data: str) -> Dataset:
    """The data set behind the strings that `task_of` takes.

    Raises:
        DataError: as there.
    """
    name, _, rest = data.partition(":")
    if name == "synthetic":
        return load_synthetic(rest)
    if name == "classes":
        wanted, _, inner = rest.partition(":")
        return _some_classes(dataset_of(inner), wanted, data)
    return load_data(data)


def _some_classes(dataset: Dataset, wanted: str, data: str) -> Dataset:
    low, dash, high = wanted.partition("-")
    if not (low.isdecimal() and dash and high.isdecimal() and int(low) < int(high) < len(dataset.classes)):
        raise DataError(
            f"cannot take the classes {wanted!r} of {data!r}: expected two class numbers FIRST-LAST, "
            f"0 to {len(dataset.classes) - 1}, as in classes:0-4:digits"
        )
    first, last = int(low), int(high)

    def load(split: str) -> tuple[Tensor, Tensor]:
        whole = dataset.split(split)
        rows = torch.nonzero((whole.y >= first) & (whole.y <= last))[:, 0]
        return whole.x[rows], whole.y[rows] - first

    return Dataset(data, dataset.classes[first : last + 1], dataset.input_shape, dataset.splits, load)

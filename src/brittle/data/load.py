"""The front door: whatever a user calls data becomes a `Dataset`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from brittle.data.cifar import load_cifar10
from brittle.data.dataset import Dataset
from brittle.data.digits import load_digits
from brittle.data.idx import load_fashion_mnist, load_mnist
from brittle.data.images import load_images
from brittle.data.npz import load_npz
from brittle.data.split import Split, check_split
from brittle.errors import DataError

Data = str | Dataset | Split | tuple[Tensor, Tensor] | DataLoader[Any]

# DATA strings are NAME or NAME:LOCATION; a loader takes the location, "" where there is none.
DATASETS: dict[str, Callable[[str], Dataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "images": load_images,
    "npz": load_npz,
}


def load_data(spec: str) -> Dataset:
    """The data set of a DATA string.

    One of "digits", "mnist:DIR", "fashion-mnist:DIR", "cifar10:DIR", "images:DIR", "npz:FILE".

    Only headers and folders are looked at here; samples are read when a split is asked for.

    Raises:
        DataError: unknown name, or whatever the loader of that name raises.
    """
    name, _, location = spec.partition(":")
    if name not in DATASETS:
        raise DataError(
            f"unknown data {spec!r}: expected {', '.join(DATASETS)} (all but digits followed by a colon and a path)"
        )
    return DATASETS[name](location)


def as_dataset(data: Data) -> Dataset:
    """A `Dataset` from a DATA string, a `Dataset`, a `Split`, a pair of tensors (x, y), or a DataLoader of such pairs.

    Pairs and loaders become the split "test", the only one; they are checked here by `check_split`. A loader is read
    to its end, once, and keeps its order: let it not shuffle, or the samples' sha256 changes from run to run.
    Their classes are named "0", "1", ... up to the largest label.

    Raises:
        DataError: anything else, a batch that is no pair, or samples that fail `check_split`.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str):
        return load_data(data)
    if isinstance(data, Split):
        return _given(data.x, data.y, "tensors")
    if isinstance(data, DataLoader):
        return _given(*_concatenated(data), "loader")
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        return _given(data[0], data[1], "tensors")
    raise DataError(
        f"data must be a DATA string, a pair of tensors (x, y), a DataLoader or a brittle Dataset, got {_name(data)}:"
        " wrap a torch Dataset in a DataLoader, turn arrays into tensors with torch.from_numpy"
    )


def _given(x: Tensor, y: Tensor, name: str) -> Dataset:
    split = check_split(x, y, None, name)
    classes = tuple(str(label) for label in range(int(split.y.max()) + 1))
    return Dataset(name, classes, tuple(split.x.shape[1:]), ("test",), partial(_same, split))


def _same(split: Split, name: str) -> tuple[Tensor, Tensor]:
    return split.x, split.y


def _concatenated(loader: DataLoader[Any]) -> tuple[Tensor, Tensor]:
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for batch in loader:
        if not _is_batch(batch):
            raise DataError(
                f"a DataLoader must give batches (x, y) of tensors, batch {len(xs)} is {_name(batch)}:"
                " set batch_size, or write a collate_fn"
            )
        x, y = batch
        if xs and x.shape[1:] != xs[0].shape[1:]:
            raise DataError(
                f"all batches must have inputs of one shape, batch {len(xs)} has {tuple(x.shape[1:])} after"
                f" {tuple(xs[0].shape[1:])}: resize in the loader's transform"
            )
        xs.append(x.detach().cpu())
        ys.append(y.detach().cpu())
    if not xs:
        raise DataError("the DataLoader gave no batches: is its data set empty?")
    return torch.cat(xs), torch.cat(ys)


def _is_batch(batch: object) -> bool:
    if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        return False
    return batch[0].dim() > 1 and batch[1].dim() > 0


def _name(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return f"a {type(value).__name__}"

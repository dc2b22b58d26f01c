from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from brittle.data.digits import load_digits
from brittle.data.load import DATASETS, as_dataset, load_data
from brittle.data.split import Split
from brittle.errors import DataError

X = torch.rand(10, 1, 2, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(10) % 4


def test_each_name_reaches_its_loader(mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory, png: Any) -> None:
    assert load_data("digits").split("test").sha256() == load_digits().split("test").sha256()
    assert load_data(f"mnist:{mnist_folder}").name == "mnist"
    assert load_data(f"fashion-mnist:{mnist_folder}").name == "fashion-mnist"
    folder = tmp_path_factory.mktemp("a:b")  # only the first colon separates
    np.savez(folder / "own.npz", x=X.numpy(), y=Y.numpy())
    assert load_data(f"npz:{folder}/own.npz").name == "npz:own"
    (folder / "cat").mkdir()
    (folder / "cat" / "0.png").write_bytes(png())
    assert load_data(f"images:{folder}").classes == ("cat",)
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        load_data(f"cifar10:{folder}")


@pytest.mark.parametrize("spec", ["imagenet:somewhere", "hub:mnist", "", ":", "Digits"])
def test_unknown_names_list_what_there_is(spec: str) -> None:
    with pytest.raises(
        DataError, match=f"unknown data '{spec}': expected digits, mnist, .* a colon and a path"
    ) as error:
        load_data(spec)
    assert all(name in str(error.value) for name in DATASETS)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
@pytest.mark.parametrize("ending", ["", ":"])
def test_a_missing_path_is_asked_for(name: str, ending: str) -> None:
    with pytest.raises(DataError, match=f"{name}:(DIR|FILE) needs a (folder|file), got none"):
        load_data(name + ending)


def test_as_dataset_takes_every_kind_of_data() -> None:
    digits = load_digits()
    assert as_dataset(digits) is digits
    assert as_dataset("digits").name == "digits"
    wanted = Split(X, Y).sha256()
    for data in ((X, Y), [X, Y], Split(X, Y), DataLoader(TensorDataset(X, Y), batch_size=3)):
        made = as_dataset(data)  # type: ignore[arg-type]
        assert (made.classes, made.input_shape, made.splits) == (("0", "1", "2", "3"), (1, 2, 3), ("test",))
        assert made.split("test").sha256() == wanted
        with pytest.raises(DataError, match="has no split 'train', only test"):
            made.split("train")


def test_pairs_and_loaders_are_checked_at_once() -> None:
    with pytest.raises(DataError, match="tensors: pixels must be in"):
        as_dataset((X * 255, Y))
    with pytest.raises(DataError, match="loader: pixels must be finite"):
        as_dataset(DataLoader(TensorDataset(X / 0, Y), batch_size=4))
    with pytest.raises(DataError, match="tensors: there are no samples"):
        as_dataset((X[:0], Y[:0]))


@pytest.mark.parametrize(
    ("data", "came"),
    [
        ((X,), "a tuple of Tensor"),
        ((X, Y, Y), "a tuple of Tensor, Tensor, Tensor"),
        ((), "a tuple of nothing"),
        ((X.numpy(), Y.numpy()), "a tuple of ndarray, ndarray"),
        (TensorDataset(X, Y), "a TensorDataset"),
        (X, "a Tensor"),
        (None, "a NoneType"),
    ],
)
def test_anything_else_is_refused(data: Any, came: str) -> None:
    with pytest.raises(DataError, match=f"data must be a DATA string, .*, got {came}: wrap a torch Dataset in a Data"):
        as_dataset(data)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (DataLoader(TensorDataset(X)), "batch 0 is a list of Tensor: set batch_size, or write a collate_fn"),
        (DataLoader([{"x": X[0], "y": 0}]), "batch 0 is a dict"),  # type: ignore[arg-type,list-item]
        (DataLoader(TensorDataset(X, Y), batch_size=None), "batch 0 is a list of Tensor, Tensor"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), "the DataLoader gave no batches"),
        (
            DataLoader([(X[0], 0), (X[0, :, :1], 0)]),  # type: ignore[arg-type,list-item]
            r"batch 1 has \(1, 1, 3\) after \(1, 2, 3\): resize",
        ),
    ],
)
def test_loaders_that_give_something_else(loader: DataLoader[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_dataset(loader)

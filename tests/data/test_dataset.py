from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.errors import DataError


def _load(calls: list[str], shape: tuple[int, ...], name: str) -> tuple[Tensor, Tensor]:
    calls.append(name)
    return torch.zeros(3, *shape), torch.arange(3)


def _dataset(calls: list[str], shape: tuple[int, ...] = (1, 2, 2), classes: str = "abc") -> Dataset:
    return Dataset("made", tuple(classes), (1, 2, 2), ("train", "test"), partial(_load, calls, shape))


def test_a_split_is_read_when_asked_for_and_once() -> None:
    calls: list[str] = []
    data = _dataset(calls)
    assert calls == []
    assert data.split("test") is data.split("test")
    assert calls == ["test"]


def test_a_missing_split_names_those_there_are() -> None:
    calls: list[str] = []
    with pytest.raises(DataError, match="made has no split 'validation', only train, test: ask for one of these"):
        _dataset(calls).split("validation")
    assert calls == []


def test_what_is_read_is_checked() -> None:
    with pytest.raises(DataError, match=r"made, split train: labels must be class indices 0 .. 1, got 0 .. 2"):
        _dataset([], classes="ab").split("train")
    with pytest.raises(DataError, match=r"made, split test: inputs must have shape \(1, 2, 2\), got \(3, 2, 2\)"):
        _dataset([], shape=(3, 2, 2)).split("test")


def test_a_dataset_travels_to_worker_processes() -> None:
    copy = pickle.loads(pickle.dumps(_dataset([])))
    assert copy.split("test").y.tolist() == [0, 1, 2]

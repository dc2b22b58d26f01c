"""Choices and recovery never see a sample that is scored, whatever splits the data have."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from brittle.data.dataset import Dataset
from brittle.data.load import as_dataset, load_data
from brittle.delivery.samples import with_training_part
from brittle.errors import DataError


def numbered(n: int) -> tuple[Tensor, Tensor]:
    """Samples whose first pixel tells which one they are."""
    x = torch.zeros(n, 1, 2, 2)
    x[:, 0, 0, 0] = torch.arange(n) / n
    return x, torch.arange(n) % 3


def made(*splits: str, n: int = 60) -> Dataset:
    pairs = {name: numbered(n) for name in splits}
    return Dataset("made", ("a", "b", "c"), (1, 2, 2), splits, partial(dict.__getitem__, pairs))


def who(data: Dataset, split: str) -> set[float]:
    return set(data.split(split).x[:, 0, 0, 0].tolist())


def test_data_with_all_three_splits_are_left_alone() -> None:
    data = load_data("digits")
    assert with_training_part(data) == (data, "train")


def test_a_missing_validation_split_is_cut_from_the_training_split() -> None:
    data, source = with_training_part(made("train", "test"))
    assert source == "train"
    learn, choose = who(data, "train"), who(data, "validation")
    assert learn.isdisjoint(choose)
    assert learn | choose == who(made("train"), "train")
    assert len(choose) == 6
    assert data.split("validation").y.bincount().tolist() == [2, 2, 2]
    assert len(data.split("test")) == 60


def test_data_with_nothing_but_a_test_split_are_halved() -> None:
    whole = as_dataset(numbered(60))
    data, source = with_training_part(whole)
    assert source == "half of test"
    scored, seen = who(data, "test"), who(data, "train") | who(data, "validation")
    assert scored.isdisjoint(seen)
    assert scored | seen == who(whole, "test")
    assert len(scored) == len(seen) == 30


def test_the_cut_is_the_same_every_time() -> None:
    first, second = (with_training_part(as_dataset(numbered(60)))[0] for _ in range(2))
    for name in ("train", "validation", "test"):
        assert first.split(name).sha256() == second.split(name).sha256()


def test_data_without_anything_to_score_on_are_refused() -> None:
    with pytest.raises(DataError, match="made has no test split to score on, only train: give data with one"):
        with_training_part(made("train"))


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match="has 2 samples to learn from: at least 10 are needed"):
        with_training_part(as_dataset(numbered(4)))

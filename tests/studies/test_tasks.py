"""Splits of a trial."""

from __future__ import annotations

import pytest
import torch

from brittle.data.load import load_data
from brittle.errors import DataError
from brittle.studies import tasks
from brittle.studies.tasks import dataset_of, task_of


def test_a_task_draws_from_the_splits_of_the_data() -> None:
    task, digits = task_of("digits", 100, 50, 3), load_data("digits")
    assert task.learning.train.sha256() == digits.split("train").take(100, 3).sha256()
    assert task.learning.validation.sha256() == digits.split("validation").sha256()
    assert task.test.sha256() == digits.split("test").take(50, 3).sha256()
    assert (task.learning.classes, task.learning.input_shape) == (10, (1, 8, 8))
    assert task_of("digits", None, 50, 3).learning.sha256() != task.learning.sha256()


def test_validation_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MOST_VALIDATION", 20)
    assert len(task_of("synthetic:linear", 30, 10, 99).learning.validation) == 20


def test_what_is_learned_from_does_not_hold_the_test_split() -> None:
    assert set(vars(task_of("digits", 100, 50, 0).learning)) == {"train", "validation", "classes"}


def test_some_classes_alone_are_numbered_from_zero() -> None:
    whole, part = load_data("digits").split("test"), dataset_of("classes:5-9:digits")
    test = part.split("test")
    assert part.classes == ("5", "6", "7", "8", "9")
    assert torch.equal(test.x, whole.x[whole.y >= 5])
    assert torch.equal(test.y + 5, whole.y[whole.y >= 5])


@pytest.mark.parametrize(
    "data", ["classes:5-10:digits", "classes:3-3:digits", "classes:3:digits", "classes:a-b:digits"]
)
def test_classes_that_are_not_there_are_refused(data: str) -> None:
    with pytest.raises(DataError, match=r"cannot take the classes .* expected two class numbers FIRST-LAST, 0 to 9"):
        dataset_of(data)


def test_unknown_data_are_refused() -> None:
    with pytest.raises(DataError, match="unknown data 'letters'"):
        task_of("letters", None, 10, 0)

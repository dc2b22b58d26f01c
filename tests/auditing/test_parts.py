from __future__ import annotations

import pytest
import torch

from brittle.auditing.parts import parts
from brittle.data.load import as_dataset, load_data
from brittle.errors import DataError


def test_fitted_on_training_samples_where_there_are_some() -> None:
    digits = load_data("digits")
    test = digits.split("test")
    made = parts(digits, test, fit=50, score=30, seed=3)
    assert made.source == "train"
    assert len(made.fit) == 50
    known = {x.numpy().tobytes() for x in digits.split("train").x}
    assert all(x.numpy().tobytes() in known for x in made.fit.x)
    assert made.score_rows.unique().tolist() == made.score_rows.tolist()
    assert len(made.score_rows) == 30
    assert int(made.score_rows.max()) < len(test)


@pytest.mark.parametrize("n", [2, 3, 11])
def test_a_lone_test_split_is_halved_without_overlap(n: int) -> None:
    x = torch.arange(n, dtype=torch.float32)[:, None] / n
    data = as_dataset((x, torch.arange(n) % 2))
    made = parts(data, data.split("test"), fit=100, score=100, seed=0)
    scored = {float(v) for v in x[made.score_rows]}
    assert made.source == "half of test"
    assert scored.isdisjoint({float(v) for v in made.fit.x})
    assert len(scored) + len(made.fit) == n


def test_one_sample_cannot_be_halved() -> None:
    data = as_dataset((torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64)))
    with pytest.raises(DataError, match="has 1 sample: directions need some to fit on"):
        parts(data, data.split("test"), fit=5, score=5, seed=0)

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits

from brittle.data.digits import load_digits
from brittle.errors import DataError


def test_the_splits_are_scikit_learns_digits_each_once() -> None:
    data = load_digits()
    assert (data.name, data.input_shape, data.classes) == ("digits", (1, 8, 8), tuple("0123456789"))
    splits = [data.split(name) for name in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [1078, 180, 539]  # 60, 10 and 30 percent of 1797
    ours = np.concatenate([np.c_[s.x.double().numpy().reshape(-1, 64) * 16, s.y.numpy()] for s in splits])
    values, labels = sklearn_digits(return_X_y=True)
    theirs = np.c_[values, labels]
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_the_splits_are_stratified_and_fixed() -> None:
    data = load_digits()
    _, labels = sklearn_digits(return_X_y=True)
    for name, share in (("train", 0.6), ("validation", 0.1), ("test", 0.3)):
        counts = torch.bincount(data.split(name).y, minlength=10).numpy()
        assert np.all(np.abs(counts - share * np.bincount(labels)) < 1.5)
        assert data.split(name).sha256() == load_digits().split(name).sha256()


def test_a_path_is_refused() -> None:
    with pytest.raises(DataError, match="digits comes with the library and takes no path, got 'somewhere'"):
        load_digits("somewhere")

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brittle.data.npz import load_npz
from brittle.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.random((30, 2, 4, 5)).astype(np.float32)
Y = np.arange(30) % 3


def _save(folder: Path, **arrays: Any) -> Path:
    path = folder / "made.npz"
    np.savez(path, **arrays)
    return path


def test_a_pair_is_cut_in_three(tmp_path: Path) -> None:
    data = load_npz(_save(tmp_path, x=X, y=Y))
    assert (data.name, data.classes, data.input_shape) == ("npz:made", ("0", "1", "2"), (2, 4, 5))
    splits = [data.split(name) for name in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [18, 3, 9]
    both = torch.cat([split.x for split in splits])
    assert sorted(both.flatten(1).sum(1).tolist()) == sorted(torch.from_numpy(X).flatten(1).sum(1).tolist())
    where = {X[i].tobytes(): Y[i] for i in range(30)}
    assert all(where[x.numpy().tobytes()] == y for split in splits for x, y in zip(split.x, split.y, strict=True))


def test_given_splits_are_kept(tmp_path: Path) -> None:
    path = _save(
        tmp_path, x_train=X[:20], y_train=Y[:20], x_validation=X[20:24], y_validation=Y[20:24], x_test=X[24:],
        y_test=Y[24:],
    )  # fmt: skip
    data = load_npz(path)
    for name, part in (("train", slice(20)), ("validation", slice(20, 24)), ("test", slice(24, None))):
        assert np.array_equal(data.split(name).x.numpy(), X[part])
        assert np.array_equal(data.split(name).y.numpy(), Y[part])


def test_validation_is_cut_from_train_where_there_is_none(tmp_path: Path) -> None:
    data = load_npz(_save(tmp_path, x_train=X[:20], y_train=Y[:20], x_test=X[20:], y_test=Y[20:]))
    assert data.splits == ("train", "validation", "test")
    assert (len(data.split("train")), len(data.split("validation"))) == (18, 2)
    assert np.array_equal(data.split("test").x.numpy(), X[20:])


def test_only_a_test_pair(tmp_path: Path) -> None:
    assert load_npz(_save(tmp_path, x_test=X, y_test=Y)).splits == ("test",)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_floats_of_any_width_and_byte_order(tmp_path: Path, dtype: str) -> None:
    x = load_npz(_save(tmp_path, x_test=X.astype(dtype), y_test=Y.astype(">i2"))).split("test").x
    assert np.array_equal(x.numpy(), X.astype(dtype).astype(np.float32))


def test_bytes_are_divided_by_255(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (30, 1, 4, 5), np.uint8)
    x = load_npz(_save(tmp_path, x_test=values, y_test=Y)).split("test").x
    assert np.array_equal(x.numpy(), (values / 255.0).astype(np.float32))


def test_grey_images_get_a_channel_and_features_stay(tmp_path: Path) -> None:
    grey = load_npz(_save(tmp_path, x_test=X[:, 0], y_test=Y))
    assert grey.input_shape == (1, 4, 5)
    assert np.array_equal(grey.split("test").x.numpy(), X[:, :1])
    flat = load_npz(_save(tmp_path, x_test=X.reshape(30, 40), y_test=Y))
    assert flat.input_shape == (40,)
    assert np.array_equal(flat.split("test").x.numpy(), X.reshape(30, 40))


def test_class_names(tmp_path: Path) -> None:
    assert load_npz(_save(tmp_path, x=X, y=Y, classes=np.array(["a", "b", "c", "d"]))).classes == ("a", "b", "c", "d")


def test_asking_for_test_does_not_read_the_training_images(tmp_path: Path) -> None:
    objects = np.full((20, 2, 4, 5), None, dtype=object)  # cannot be read without pickle: reading it would be an error
    data = load_npz(_save(tmp_path, x_train=objects, y_train=Y[:20], x_test=X[20:], y_test=Y[20:]))
    assert data.input_shape == (2, 4, 5)
    assert len(data.split("test")) == 10
    with pytest.raises(DataError, match=r"cannot read x_train \(Object arrays cannot be loaded .*without objects"):
        data.split("train")


BAD_AT_ONCE: dict[str, tuple[dict[str, Any], str]] = {
    "no arrays": ({}, "holds nothing: expected either x and y, or x_train"),
    "other names": ({"images": X, "labels": Y}, "holds images, labels: expected either x and y"),
    "no labels": ({"x": X}, "holds x: expected either"),
    "both forms": ({"x": X, "y": Y, "x_test": X, "y_test": Y}, "expected either"),
    "five dimensions": ({"x": X[None], "y": Y}, r"x has shape \(1, 30, 2, 4, 5\), expected \(n, c, h, w\)"),
    "channels last": ({"x": np.zeros((30, 8, 8, 3)), "y": Y}, r"channels last: save x.transpose\(0, 3, 1, 2\)"),
    "float labels": ({"x": X, "y": Y / 2}, r"y must be integer class indices of shape \(n,\), got float64"),
    "text labels": ({"x": X, "y": Y.astype(str)}, r"y must be integer class indices"),
    "one-hot": ({"x": X, "y": np.eye(3, dtype=int)[Y]}, r"of shape \(30, 3\): .* y.argmax\(1\)"),
    "no samples": ({"x": X[:0], "y": Y[:0]}, r"y must be integer class indices .* of shape \(0,\)"),
    "object labels": ({"x": X, "y": np.array([{}] * 30)}, r"cannot read y \(Object arrays"),
    "negative labels": ({"x": X, "y": Y - 1}, r"y: labels must be class indices .* got -1 .. 1"),
    "huge labels": ({"x": X, "y": Y + 10**9}, "labels must be class indices 0 .. 999999"),
    "labels beyond names": ({"x": X, "y": Y, "classes": ["a", "b"]}, r"class indices 0 .. 1, got 0 .. 2"),
}


@pytest.mark.parametrize("case", BAD_AT_ONCE)
def test_refused_at_once(tmp_path: Path, case: str) -> None:
    arrays, message = BAD_AT_ONCE[case]
    with pytest.raises(DataError, match=message) as caught:
        load_npz(_save(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


BAD_WHEN_READ: dict[str, tuple[dict[str, Any], str]] = {
    "counts": ({"x": X[:29], "y": Y}, "x holds 29 samples, y 30 labels: save them together"),
    "integers": ({"x": (X * 255).astype(int), "y": Y}, "x is int64, expected floats .* or unsigned bytes: save"),
    "text": ({"x": X.astype(str), "y": Y}, "expected floats"),
    "NaN": ({"x": np.where(X > 0.5, np.nan, X), "y": Y}, "npz:made, split test: pixels must be finite"),
    "normalised": ({"x": X - 0.5, "y": Y}, r"pixels must be in \[0, 1\].*brittle.Pixels"),
    "0 to 255": ({"x": X * 255, "y": Y}, "divide by 255"),
}


@pytest.mark.parametrize("case", BAD_WHEN_READ)
def test_refused_when_read(tmp_path: Path, case: str) -> None:
    arrays, message = BAD_WHEN_READ[case]
    with pytest.raises(DataError, match=message):
        load_npz(_save(tmp_path, **arrays)).split("test")


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    whole = _save(tmp_path, x=X, y=Y).read_bytes()
    path = tmp_path / "broken.npz"
    for blob in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(blob)
        with pytest.raises(DataError, match=r"broken\.npz is not a whole npz file .*: save it again with numpy.savez"):
            load_npz(path)
    place = whole.index(X.tobytes()[:64]) + 100
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(DataError, match="cannot read x"):
        load_npz(path).split("test")
    with pytest.raises(DataError, match="npz:FILE: no such file"):
        load_npz(tmp_path / "absent.npz")

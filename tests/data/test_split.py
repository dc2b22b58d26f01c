from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from brittle.data.split import Split, check_labels, check_split, unit_pixels
from brittle.errors import DataError, UsageError


def _numbered(n: int) -> Split:
    return Split(torch.linspace(0, 1, n)[:, None, None, None], torch.arange(n))


def test_sha256_is_the_documented_digest() -> None:
    split = Split(torch.tensor([[0.0, 0.5], [1.0, 0.25]]), torch.tensor([3, 1]))
    by_hand = hashlib.sha256(b"2,2" + struct.pack("<4f", 0.0, 0.5, 1.0, 0.25) + struct.pack("<2q", 3, 1))
    assert split.sha256() == by_hand.hexdigest()


def test_sha256_ignores_memory_layout_and_sees_order_labels_and_shape() -> None:
    x, y = torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    digest = Split(x, y).sha256()
    assert Split(x.to(memory_format=torch.channels_last), y).sha256() == digest
    others = [Split(x.flip(0), y.flip(0)), Split(x, y.flip(0)), Split(x.reshape(4, 18), y), Split(x[:3], y[:3])]
    assert digest not in {other.sha256() for other in others}


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_take_is_an_ascending_subset_and_nested(n: int, m: int, seed: int) -> None:
    small, large = sorted((n, m))
    split = _numbered(50)
    few, many = split.take(small, seed), split.take(large, seed)
    assert len(few) == min(small, 50)
    assert bool((few.y.diff() > 0).all())
    assert set(few.y.tolist()) <= set(many.y.tolist())
    assert torch.equal(few.x, split.x[few.y])


def test_take_depends_on_the_seed_and_reaches_every_class_of_sorted_data() -> None:
    split = _numbered(1000)
    assert not torch.equal(split.take(100, 0).y, split.take(100, 1).y)
    assert torch.equal(split.take(100, 7).y, split.take(100, 7).y)
    # 100 expected in ten samples of 10 from each tenth: a prefix instead of a sample would miss nine tenths
    assert set((split.take(100, 0).y // 100).tolist()) == set(range(10))


def test_take_all() -> None:
    split = _numbered(5)
    assert split.take(None, 0) is split
    assert split.take(5, 0) is split
    assert split.take(9, 0) is split


def test_take_refuses_no_samples_and_negative_seeds() -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        _numbered(5).take(0, 0)
    with pytest.raises(UsageError, match="at least 0, got -1"):
        _numbered(5).take(2, -1)


def test_at_keeps_the_order_it_is_given() -> None:
    assert _numbered(5).at(np.array([4, 0, 2])).y.tolist() == [4, 0, 2]


def test_unit_pixels_are_the_correctly_rounded_quotients() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    exact = np.arange(256, dtype=np.float64).reshape(1, 1, 16, 16) / 255
    pixels = unit_pixels(values)
    assert pixels.dtype == torch.float32
    assert np.array_equal(pixels.numpy(), exact.astype(np.float32))


X, Y = torch.full((4, 1, 2, 2), 0.5), torch.arange(4)


def _with(value: float) -> Tensor:
    x = X.clone()
    x[2, 0, 1, 1] = value
    return x


BAD = {
    "NaN": (_with(float("nan")), Y, "sample 2 holds NaN or infinity"),
    "infinity": (_with(float("inf")), Y, "sample 2 holds NaN or infinity"),
    "bytes as floats": (_with(200.0), Y, r"must be in \[0, 1\], got \[0.5, 200\]: divide by 255"),
    "normalised": (_with(-1.5), Y, r"got \[-1.5, 0.5\]: undo the normalisation .* brittle.Pixels\(mean, std, model\)"),
    "overshoot": (_with(1.0001), Y, r"x.clamp\(0, 1\)"),
    "bytes": ((X * 255).byte(), Y, r"got torch.uint8: use x.float\(\) / 255"),
    "grey without channel": (X[:, 0], Y, r"got shape \(4, 2, 2\): use x.unsqueeze\(1\)"),
    "one dimension": (X.flatten()[:4], Y, r"must be \(n, c, h, w\) or \(n, d\), got shape \(4,\)"),
    "video": (X[None], Y, r"got shape \(1, 4, 1, 2, 2\): reshape"),
    "no samples": (X[:0], Y[:0], "there are no samples"),
    "no pixels": (X[..., :0], Y, "no pixels"),
    "fewer labels": (X, Y[:3], r"y must have shape \(4,\) to match x, got \(3,\)"),
    "one-hot": (X, torch.eye(4), r"got \(4, 4\): use y.argmax\(1\)"),
    "label as column": (X, Y[:, None], r"y must have shape \(4,\)"),
    "float labels": (X, Y / 2, r"labels must be integers, got torch.float32: use y.long\(\)"),
    "yes/no labels": (X, Y > 1, "labels must be integers, got torch.bool"),
    "label too large": (X, Y + 1, r"class indices 0 .. 3, got 1 .. 4: renumber"),
    "label negative": (X, Y - 1, r"class indices 0 .. 3, got -1 .. 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_check_split_refuses(case: str) -> None:
    x, y, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        check_split(x, y, 4, "here")
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)


def test_check_split_takes_bounds_and_turns_types() -> None:
    x = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    split = check_split(x, torch.tensor([1], dtype=torch.int32), 2, "here")
    assert (split.x.dtype, split.y.dtype, split.x.requires_grad) == (torch.float32, torch.int64, False)
    assert split.x.tolist() == [[0.0, 1.0]]


def test_labels_without_known_classes_must_still_be_class_indices() -> None:
    assert check_labels(torch.tensor([999_999]), None, "here").tolist() == [999_999]
    with pytest.raises(DataError, match=r"0 .. 999999, got 20250101 .. 20250101"):
        check_labels(torch.tensor([20250101]), None, "here")

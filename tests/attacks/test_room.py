from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brittle.attacks.room import check_samples, search_ball, search_room
from brittle.attacks.start import random_start
from brittle.errors import DataError, UsageError
from brittle.threats import EVERYWHERE, ball

X, Y, I = torch.full((2, 3), 0.5), torch.tensor([0, 1]), torch.arange(2)  # noqa: E741


@pytest.mark.parametrize(
    ("x", "y", "indices", "error", "message"),
    [
        (X.half(), Y, I, UsageError, "expected float32 or float64 pixels, got torch.float16"),
        (X[:0], Y[:0], I[:0], DataError, r"n >= 1, got \(0, 3\)"),
        (X[:, 0], Y, I, DataError, r"shape \(n, ...\) with n >= 1, got \(2,\)"),
        (X, Y.int(), I, DataError, "expected 2 int64 labels, one per sample, got torch.int32"),
        (X, Y[:1], I, DataError, r"expected 2 int64 labels.*\(1,\)"),
        (X, Y, I[:1], DataError, r"expected 2 int64 indices.*\(1,\)"),
        (X + 0.6, Y, I, DataError, r"expected pixels in \[0, 1\], got \[1.1, 1.1\]"),
        (X - 0.6, Y, I, DataError, r"expected pixels in \[0, 1\]"),
        (X * float("nan"), Y, I, DataError, r"expected pixels in \[0, 1\], got \[nan, nan\]"),
    ],
)
def test_unusable_samples_are_refused(x, y, indices, error, message):
    with pytest.raises(error, match=message):
        check_samples(x, y, indices)


def test_usable_samples_pass():
    check_samples(X, Y, I)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_radius_below_float32_resolution_is_refused_but_float64_takes_it(norm):
    with pytest.raises(UsageError, match=f"epsilon 1e-08 is too small for float32 pixels in {norm}"):
        search_ball(ball(norm, 1e-8), X)
    assert search_ball(ball(norm, 1e-8), X.double()).epsilon == pytest.approx(1e-8, rel=1e-6)
    with pytest.raises(UsageError, match=f"epsilon 1e-16 is too small for float64 pixels in {norm}"):
        search_ball(ball(norm, 1e-16), X.double())


@given(
    norm=st.sampled_from(["linf", "l2", "l1"]),
    epsilon=st.floats(1e-4, 3.0),
    seed=st.integers(0, 2**32),
    double=st.booleans(),
    reach=st.floats(1e-3, 10.0),
)
def test_moves_and_starts_never_leave_ball_and_box(norm, epsilon, seed, double, reach):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 2, 9, generator=generator, dtype=torch.float64).to(torch.float64 if double else torch.float32)
    threat = ball(norm, epsilon)
    inside = search_room(threat, x)
    towards = x + reach * torch.randn(4, 2, 9, generator=generator, dtype=x.dtype)
    for point in (inside.project(x, towards), random_start(x, inside, torch.arange(4), seed, "s")):
        assert point.dtype == x.dtype
        assert float(threat.length(point.double() - x.double()).max()) <= epsilon
        assert float(point.min()) >= 0.0
        assert float(point.max()) <= 1.0


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_large_image_stays_inside_in_float32(norm):
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    threat = ball(norm, {"linf": 8 / 255, "l2": 3.0, "l1": 12.0}[norm])
    point = search_room(threat, x).project(x, 1 - x)
    length = float(threat.length(point.double() - x.double()))
    assert 0.999 * threat.epsilon < length <= threat.epsilon


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_without_walls_the_margin_covers_values_beyond_one(norm):
    x = torch.rand(8, 200, generator=torch.Generator().manual_seed(0))
    threat = ball(norm, 500.0)
    point = search_room(threat, x, EVERYWHERE).project(x, x + 1e5 * (x - 0.5))
    assert float(threat.length(point.double() - x.double()).max()) <= 500.0
    assert search_ball(threat, x, EVERYWHERE).epsilon < search_ball(threat, x).epsilon


def test_a_full_step_is_the_ball_s_own_in_the_room_s_box():
    room = search_room(ball("l1", 0.9), X.double())
    step = room.full_step(X.double(), torch.tensor([[3.0, -2.0, 1.0]] * 2).double())
    assert torch.allclose(step, torch.tensor([[1.0, 0.1, 0.5]] * 2).double(), atol=1e-8)

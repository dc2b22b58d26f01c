"""Square: what its windows look like, what it promises, and how strong it is beside the authors' own code."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_nets import trained
from torch import nn

from brittle.attacks.square import Square
from brittle.attacks.square_l2 import L2Painter
from brittle.attacks.square_linf import LinfPainter
from brittle.attacks.square_shapes import as_image, corner, covers, profile, share_at, window
from brittle.data.load import load_data
from brittle.errors import DataError, UsageError
from brittle.threats import ball


class Counting(nn.Module):
    """A small net that counts the samples it sees and refuses to be differentiated."""

    def __init__(self, shape=(2, 6, 6), dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        d = torch.Size(shape).numel()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(d, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4)).to(dtype)
        self.seen = self.largest = 0

    def forward(self, x):
        assert not torch.is_grad_enabled()
        self.seen, self.largest = self.seen + len(x), max(self.largest, len(x))
        return (5 * self.net(x)).detach()


def samples(shape=(2, 6, 6), n=16, dtype=torch.float64):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    x[0], x[1] = 0.0, 1.0
    with torch.no_grad():
        return x, Counting(shape, dtype).eval()(x).argmax(1)


@pytest.mark.parametrize(("norm", "reference", "epsilon"), [("linf", "Linf", 0.12), ("l2", "L2", 0.7)])
def test_as_strong_as_the_reference(norm, reference, epsilon):
    oracle = pytest.importorskip("pyautoattack.square", reason="needs the optional package pyautoattack")
    model, data = trained(), load_data("digits")
    x = torch.cat([data.split("test").x, data.split("train").x])[:500]
    y = torch.cat([data.split("test").y, data.split("train").y])[:500]
    theirs = oracle.SquareAttack(
        model, norm=reference, n_queries=200, eps=epsilon, p_init=0.8, n_restarts=1, seed=0, device="cpu"
    )
    ours = Square(200)(model, x, y, ball(norm, epsilon), indices=torch.arange(500), seed=0)
    left = [float((model(x_adv).argmax(1) == y).double().mean()) for x_adv in (ours, theirs.perturb(x, y))]
    assert 0.1 < left[1] < 0.8
    assert left[0] <= left[1] + 0.02


@settings(max_examples=15, deadline=None)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    epsilon=st.floats(1e-3, 3.0),
    shape=st.sampled_from([(2, 6, 6), (3, 5, 7), (1, 1, 1), (9,), (1,), (2,), (4, 3), (1, 2, 2), (3, 6, 1)]),
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_answers_never_leave_ball_and_box(norm, epsilon, shape, seed, dtype):
    x, y = samples(shape, 6, dtype)
    threat = ball(norm, epsilon)
    x_adv = Square(30)(Counting(shape, dtype), x, y, threat, indices=torch.arange(6), seed=seed)
    assert x_adv.dtype == dtype
    assert x_adv.shape == x.shape
    assert float(threat.length(x_adv.double() - x.double()).max()) <= epsilon
    assert float(x_adv.min()) >= 0.0
    assert float(x_adv.max()) <= 1.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(2, 6, 6), (24,)], ids=["image", "vector"])
def test_it_breaks_what_random_perturbations_do_not(norm, shape):
    x, y = samples(shape, 60)
    model, threat = Counting(shape).eval(), ball(norm, {"linf": 0.1, "l2": 0.4}[norm])
    run = {"indices": torch.arange(60), "seed": 0}
    with torch.no_grad():
        left = [(model(Square(q)(model, x, y, threat, **run)).argmax(1) == y).double().mean() for q in (1, 300)]
    assert left[1] < left[0] - 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_sample_s_answer_does_not_depend_on_its_batch(norm):
    x, y = samples()
    threat, model, indices = ball(norm, 0.1), Counting(), torch.arange(40, 56)
    whole = Square(150)(model, x, y, threat, indices=indices, seed=1)  # more than one block of random numbers
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    parts = [Square(150)(model, x[p], y[p], threat, indices=indices[p], seed=1) for p in order.split(5)]
    assert torch.allclose(torch.cat(parts), whole[order], atol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_seed_decides(norm):
    x, y = samples()
    run = [Square(20)(Counting(), x, y, ball(norm, 0.02), indices=torch.arange(16), seed=s) for s in (0, 0, 1)]
    assert torch.equal(run[0], run[1])
    assert not torch.equal(run[0], run[2])


def test_every_sample_has_its_own_random_numbers(monkeypatch):
    drawn = []
    change = LinfPainter.change
    monkeypatch.setattr(
        LinfPainter,
        "change",
        lambda self, delta, uniform, share: drawn.append(uniform) or change(self, delta, uniform, share),
    )
    x, y = samples()
    Square(140)(Counting(), x, y, ball("linf", 1e-4), indices=torch.arange(16), seed=0)
    numbers = torch.stack(drawn)
    assert numbers.shape[:2] == (139, 16)
    assert len(numbers.flatten(0, 1)[:, 0].unique()) == 139 * 16
    assert abs(float(numbers.mean()) - 0.5) < 0.02


def test_the_model_is_asked_as_often_as_the_queries_say_and_comes_back_as_it_was():
    model, (x, y) = Counting(), samples()
    Square(50)(model, x, y, ball("linf", 1e-4), indices=torch.arange(16), seed=0)  # nothing breaks
    assert model.seen == 16 * (50 + 1)  # x itself, once
    assert model.largest == 16
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert Square(50).cost == 50
    assert Square(50).name == "square-50"


def test_broken_samples_are_left_alone():
    model, (x, y) = Counting(), samples()
    Square(200)(model, x, y, ball("linf", 0.9), indices=torch.arange(16), seed=0)
    assert model.seen < 0.3 * 16 * 200
    model.seen = 0
    x_adv = Square(200)(model, x, (y + 1) % 4, ball("linf", 0.1), indices=torch.arange(16), seed=0)
    assert model.seen == 16
    assert torch.equal(x_adv, x)


def test_the_painted_share_is_halved_on_the_paper_s_schedule():
    marks = [0, 10, 11, 50, 51, 201, 501, 1001, 2001, 4001, 6001, 8001, 9999]
    halvings = [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert [share_at(mark, 10_000, 0.8) for mark in marks] == [0.8 / 2**h for h in halvings]
    assert share_at(501, 5000, 0.8) == share_at(1002, 10_000, 0.8)


def test_windows_cover_their_share_where_the_image_allows():
    assert window(0.25, 20, 20, 1) == (10, 10)
    assert window(0.8, 28, 28, 1) == (25, 25)
    assert window(1e-9, 28, 28, 3) == (3, 3)
    assert window(1.0, 6, 9, 1) == (5, 5)
    assert window(0.5, 1, 40, 1) == (1, 20)
    assert window(1.0, 1, 40, 1) == (1, 39)
    assert window(0.5, 1, 1, 3) == (1, 1)
    assert window(0.5, 2, 2, 3) == (1, 1)


def test_corners_are_uniform_and_windows_cover_what_they_say():
    found = corner((torch.arange(1200, dtype=torch.float64) + 0.5) / 1200, 3)
    assert torch.bincount(found).tolist() == [300] * 4
    assert corner(torch.tensor([0.0, 1.0]), 3).tolist() == [0, 3]
    mask = covers(torch.tensor([1, 0]), torch.tensor([2, 0]), (2, 3), 4, 6)
    expected = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    expected[0, 0, 1:3, 2:5] = expected[1, 0, 0:2, 0:3] = True
    assert torch.equal(mask, expected)


def test_the_profile_is_a_bump_up_beside_a_bump_down():
    for h, w in ((6, 6), (7, 5), (1, 8), (3, 3)):
        eta = profile(h, w)
        assert eta.shape == (h, w)
        assert float(eta.norm()) == pytest.approx(1.0)
        assert (eta[:, : w // 2] > 0).all()
        assert (eta[:, w // 2 :] < 0).all()
    wide = profile(5, 10)[:, :5]  # one bump, 5 x 5: rings of 1 + 1/4 + 1/9, 1/4 + 1/9, 1/9
    assert float(wide[2, 2] / wide[0, 0]) == pytest.approx((1 + 1 / 4 + 1 / 9) / (1 / 9))
    assert float(wide[1, 2] / wide[0, 0]) == pytest.approx((1 / 4 + 1 / 9) / (1 / 9))
    assert profile(1, 1).tolist() == [[1.0]]


def test_l_inf_changes_stay_on_the_faces_and_in_one_window_per_sample():
    painter = LinfPainter((3, 8, 8), 0.1)
    random = torch.Generator().manual_seed(0)
    delta = painter.first(torch.rand(50, painter.first_numbers, generator=random))
    assert torch.equal(delta.abs(), torch.full_like(delta, 0.1))
    assert torch.equal(delta, delta[:, :, :1].expand_as(delta))  # vertical stripes
    changed = painter.change(delta, torch.rand(50, painter.numbers, generator=random), 9 / 64)
    assert torch.equal(changed.abs(), torch.full_like(delta, 0.1))
    moved = (changed != delta).any(1)
    rows, columns = moved.any(2), moved.any(1)
    assert rows.sum(1).max() <= 3
    assert columns.sum(1).max() <= 3
    assert len({tuple(row.tolist()) for row in rows}) > 4  # each sample has its own window


@pytest.mark.parametrize("image", [(3, 10, 10), (1, 1, 30), (2, 3, 4)])
def test_l2_changes_have_full_length_and_move_mass_between_two_windows(image):
    painter = L2Painter(image, 0.5)
    random = torch.Generator().manual_seed(0)
    uniform = torch.rand(60, painter.first_numbers, generator=random, dtype=torch.float64)
    delta = painter.first(uniform)
    numbers = torch.rand(60, painter.numbers, generator=random, dtype=torch.float64)
    changed = painter.change(delta, numbers, 0.1)
    for made in (delta, changed):
        assert torch.allclose(made.flatten(1).norm(dim=1), torch.full((60,), 0.5, dtype=torch.float64))
    side = window(0.1, *image[1:], 3)
    moved = ((changed - delta).abs() > 1e-12).any(1).flatten(1).sum(1)
    assert moved.max() <= 2 * side[0] * side[1]
    assert moved.min() > 0


def test_l2_gives_the_length_that_the_box_took_to_the_window():
    painter = L2Painter((1, 10, 10), 0.5)
    random = torch.Generator().manual_seed(0)
    delta = 0.6 * painter.first(torch.rand(40, painter.first_numbers, generator=random, dtype=torch.float64))
    changed = painter.change(delta, torch.rand(40, painter.numbers, generator=random, dtype=torch.float64), 0.09)
    kept = (changed - delta).abs() < 1e-9
    assert kept.flatten(1).double().mean(1).min() > 0.75  # outside the windows nothing was scaled
    assert torch.allclose(changed.flatten(1).norm(dim=1), torch.full((40,), 0.5, dtype=torch.float64))


def test_shapes_are_read_as_images():
    assert as_image((3, 4, 5)) == (3, 4, 5)
    assert as_image((4, 5)) == (1, 4, 5)
    assert as_image((7,)) == (1, 1, 7)
    with pytest.raises(UsageError, match=r"got samples of shape \(2, 3, 4, 5\)"):
        as_image((2, 3, 4, 5))


@dataclass(frozen=True)
class OtherBall:
    epsilon: float = 0.1
    norm: str = "l1"


def test_bad_input_is_refused_before_the_model_runs():
    model, (x, y) = Counting(), samples()
    run = {"indices": torch.arange(16), "seed": 0}
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        Square(5)(model, x + 1, y, ball("linf", 0.1), **run)
    with pytest.raises(UsageError, match="too small for float32"):
        Square(5)(model, x.float(), y, ball("linf", 1e-9), **run)
    with pytest.raises(UsageError, match="paints in linf and l2, got l1"):
        Square(5)(model, x, y, OtherBall(), **run)
    assert model.seen == 0
    with pytest.raises(UsageError, match="queries >= 1, got 0"):
        Square(0)
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"painted pixels is in \(0, 1\]"):
            Square(5, share)

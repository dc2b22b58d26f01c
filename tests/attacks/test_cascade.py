"""The cascade of targeted ascents, and what it remembers about each class."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.attacks import cascade as module
from brittle.attacks.cascade import Cascade
from brittle.attacks.reach import Reach
from brittle.errors import DataError, UsageError
from brittle.threats import ball


class Scores(nn.Module):
    """Logits from a function; counts the samples it is given."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return self.function(x)


def wide(rounds):
    """Rounds that begin in a wider ball: two in three, the first never. They are two ascents."""
    return rounds - -(-rounds // 3)


def attack(cascade, model, x, y, threat, seed=0):
    return cascade(model, x, y, threat, indices=torch.arange(len(x)), seed=seed)


@pytest.mark.parametrize(("norm", "epsilon", "dual"), [("linf", 0.02, 1), ("l2", 0.06, 2)])
def test_breaks_what_a_linear_classifier_gives_away_and_nothing_else(norm, epsilon, dual):
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(6, 10, generator=generator, dtype=torch.float64)
    x = 0.3 + 0.4 * torch.rand(200, 10, generator=generator, dtype=torch.float64)
    model = Scores(lambda x: (x - 0.5) @ w.T)
    y = model(x).argmax(1)
    lead = model(x).gather(1, y[:, None]) - model(x)
    costs = (w[y][:, None] - w[None]).norm(dim=2, p=dual)  # the box is out of reach
    broken = ((costs * epsilon > lead) & (costs > 0)).any(1)
    answer = attack(Cascade(10, 40, patience=1e6), model, x, y, ball(norm, epsilon))
    assert 30 < int(broken.sum()) < 170
    assert torch.equal(model(answer).argmax(1) != y, broken)


def decoy(x):
    """Class 1 is near and out of reach, class 2 far and steep: the margin's gradient only sees class 1."""
    return torch.stack([0 * x[:, 0], -0.1 + 0.4 * (x[:, 0] - 0.5), -0.97 + 10 * (x[:, 1] - 0.5)], dim=1)


def test_goes_on_to_classes_that_the_margin_does_not_point_to():
    x, y = torch.full((8, 4), 0.5, dtype=torch.float64), torch.zeros(8, dtype=torch.int64)
    left = [
        int(
            (
                decoy(attack(Cascade(20, rounds, patience=15.0), Scores(decoy), x, y, ball("linf", 0.1))).argmax(1) == 0
            ).sum()
        )
        for rounds in (1, 6)
    ]
    assert left[0] > 4
    assert left[1] == 0


def test_patience_decides_how_far_a_class_may_be():
    x, y = torch.full((1, 4), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    kept = attack(Cascade(20, 6, patience=0.5), Scores(decoy), x, y, ball("linf", 0.1), seed=1)
    assert int(decoy(kept).argmax()) == 0


@pytest.mark.parametrize(("nearest", "rounds"), [(0.99, 2), (0.02, 8)])
def test_what_nothing_moves_is_given_up_and_what_is_close_is_not(nearest, rounds):
    # One class can come down to `nearest` of its clean gap of 1, the other stays at 5.
    model = Scores(
        lambda x: torch.stack([0 * x[:, 0], -1 + (1 - nearest) * (x[:, 0] - 0.5) / 0.1, -5 + 0 * x[:, 0]], dim=1)
    )
    x, y = torch.full((1, 4), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    cascade = Cascade(10, 8, patience=1.5)
    answer = attack(cascade, model, x, y, ball("linf", 0.1))
    assert model.seen == 1 + rounds * (cascade.steps + 1) + wide(rounds)
    assert float(model(answer)[0, 1]) == pytest.approx(-nearest, abs=1e-6)  # the strongest try is what comes back


def test_the_cost_bounds_the_gradients_of_every_sample():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(5, 6, generator=generator)
    model = Scores(lambda x: (x - 0.5) @ w.T)
    x = torch.rand(1, 6, generator=generator)
    cascade = Cascade(7, 3, patience=1e6)
    attack(cascade, model, x, model(x).argmax(1), ball("linf", 1e-4))
    assert cascade.cost == 21
    assert model.seen == 2 + cascade.cost + cascade.rounds + wide(cascade.rounds)  # each ascent evaluates its start


def valley(x):
    """Uphill is the way out of the ball on the wrong side, but for a small part at the right one (radius 0.1)."""
    t = (x[:, 0] - 0.5) / 0.1
    return torch.stack([0 * t, torch.where(t < 0.9, -1 - 0.1 * t, -1.09 + 20 * (t - 0.9)), -9 + 0 * t], dim=1)


def test_wider_balls_show_maxima_that_starts_in_the_ball_miss(monkeypatch):
    x, y = torch.full((40, 4), 0.5, dtype=torch.float64), torch.zeros(40, dtype=torch.int64)

    def left() -> int:
        answer = attack(Cascade(9, 4, patience=1e6), Scores(valley), x, y, ball("linf", 0.1))
        return int((valley(answer).argmax(1) == 0).sum())

    assert left() < 22  # a start in the wider balls is on the right side once in three
    monkeypatch.setattr(module, "_WIDTHS", (1.0,))
    assert left() > 28  # in the ball once in twenty


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_only_wrong_outside_the_threat_stands(norm):
    x, y, threat = torch.full((20, 4), 0.5, dtype=torch.float64), torch.zeros(20, dtype=torch.int64), ball(norm, 0.1)
    model = Scores(lambda x: torch.stack([0 * x[:, 0], (x[:, 0] - 0.5) / 0.1 - 1.05], dim=1))  # wrong from 0.105 on
    answer = attack(Cascade(20, 6), model, x, y, threat)
    assert (model(answer).argmax(1) == 0).all()
    assert float(threat.length(answer - x).max()) <= 0.1
    assert float(model(answer)[:, 1].min()) > -0.06  # the answers are at the boundary of the threat


def test_misclassified_samples_are_left_alone_and_others_in_the_batch_change_nothing():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(5, 6, generator=generator)
    model = Scores(lambda x: torch.tanh(x @ w.T) @ torch.randn(5, 5, generator=torch.Generator().manual_seed(1)))
    x = torch.rand(40, 6, generator=generator)
    y = model(x).argmax(1)
    y[::4] = (y[::4] + 1) % 5
    cascade, threat = Cascade(8, 4), ball("l2", 0.3)
    whole = attack(cascade, model, x, y, threat)
    assert torch.equal(whole[::4], x[::4])
    part = torch.tensor([7, 1, 30])
    alone = cascade(model, x[part], y[part], threat, indices=part, seed=0)
    assert torch.allclose(alone, whole[part], atol=1e-6)


def test_bad_settings_and_samples_are_refused():
    for settings, message in (
        ({"steps": 2}, "needs steps >= 3 and rounds >= 1, got steps=2"),
        ({"rounds": 0}, "rounds >= 1, got steps=50, rounds=0: 50 and 12 are usual"),
        ({"patience": 0.0}, "patience is a positive number, got 0.0: try 2"),
        ({"patience": float("nan")}, "got nan"),
    ):
        with pytest.raises(UsageError, match=message):
            Cascade(**settings)
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        attack(Cascade(), Scores(decoy), torch.full((1, 4), 3.0), torch.zeros(1, dtype=torch.int64), ball("linf", 0.1))
    assert Cascade(30, 4).name == "cascade-30x4"


def test_reach_keeps_the_smallest_gap_to_every_class_and_the_nearest_point():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(5, 3, generator=generator), torch.tensor([0, 1, 2, 3, 0])
    first = torch.randn(5, 4, generator=generator).scatter(1, y[:, None], 9.0)
    reach, shown = Reach(x, y, first), [(x, first)]
    for _ in range(6):
        points, logits = torch.rand(5, 3, generator=generator), torch.randn(5, 4, generator=generator)
        shown.append((points, logits.scatter(1, y[:, None], 5.0)))
        reach.see(torch.arange(5), y, *shown[-1], torch.zeros(5))
    for i in range(5):
        gaps = [[float(z[i, y[i]] - z[i, j]) for j in range(4)] for _, z in shown]
        others = [j for j in range(4) if j != y[i]]
        for j in others:
            assert float(reach.gaps[i, j]) == pytest.approx(min(row[j] for row in gaps))
        best = min(range(len(shown)), key=lambda k: min(gaps[k][j] for j in others))
        assert torch.equal(reach.x[i], shown[best][0][i])
    assert reach.open().tolist() == [0, 1, 2, 3, 4]


def test_reach_keeps_the_first_error_for_good():
    x, y = torch.zeros(2, 1), torch.tensor([0, 0])
    reach = Reach(x, y, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    for k, lead in enumerate((-0.5, 1.0, 7.0), start=1):
        rows = torch.tensor([1])
        reach.see(rows, y[rows], torch.full((1, 1), float(k)), torch.tensor([[0.0, lead]]), torch.zeros(1))
    assert reach.x.tolist() == [[0.0], [2.0]]
    assert reach.wants(torch.tensor([0, 1])).tolist() == [True, False]
    assert reach.open().tolist() == [0]


def test_the_nearest_class_moves_away_with_every_try():
    x, y = torch.zeros(1, 1), torch.tensor([1])
    reach = Reach(x, y, torch.tensor([[-1.0, 1.0, -3.0]]))  # gaps 2 and 4, as shares 1 and 2
    reach.see(torch.tensor([0]), y, x, torch.tensor([[0.5, 1.0, -1.0]]), torch.zeros(1))  # 0.25 and 1
    told = []
    for _ in range(4):
        goal, distance = reach.nearest()
        told.append((int(goal), float(distance)))
        reach.try_class(torch.tensor([0]), goal)
    assert told == [(0, 0.25), (0, 1.0), (2, 1.0), (0, 2.25)]

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from brittle.attacks.ascent import Momentum, ascend
from brittle.attacks.keep import Highest
from brittle.attacks.room import Room
from brittle.threats import ball


def test_checkpoints_of_a_hundred_steps():
    # By hand from p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06): 0.22, +0.19, +0.16, +0.13, +0.10, +0.07, +0.06, ...
    assert Momentum.marks(100) == (22, 41, 57, 70, 80, 87, 93, 99)


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
def test_checkpoints_are_increasing_steps(steps):
    marks = Momentum.marks(steps)
    assert marks[0] >= 1
    assert all(a < b for a, b in pairwise(marks))
    assert marks[-1] <= steps


class Recorder(Highest):
    """Remembers every point that one sample visits."""

    def __init__(self, x):
        super().__init__(x)
        self.points, self.values = [], []

    def see(self, rows, y, points, logits, values):
        super().see(rows, y, points, logits, values)
        self.points.append(points[0].clone())
        self.values.append(float(values[0]))


class Peak(nn.Module):
    """The loss below is largest at 0.62 in each coordinate: a maximum inside the ball, to be met by halving steps."""

    def forward(self, x):
        bowl = -((x - 0.62) ** 2).sum(1)
        return torch.stack([-bowl, torch.zeros_like(bowl)], 1)


def climb(steps, epsilon=0.4):
    x = torch.full((1, 3), 0.5, dtype=torch.float64)
    recorder, y = Recorder(x), torch.tensor([0])
    ascend(Peak(), x, y, y, x, torch.arange(1), Room(ball("linf", epsilon)), lambda z, _: -z[:, 0], steps, recorder)
    return recorder


def test_the_first_step_is_twice_the_radius_projected():
    assert torch.allclose(climb(1).points[1], torch.full((3,), 0.9, dtype=torch.float64))


def test_momentum_follows_the_formula():
    points = [float(p[0]) for p in climb(20).points]
    # x_1 = 0.9 (full step up), gradient then points down: z = P(0.9 - 0.8) = 0.1 and the momentum is 0.4.
    assert points[2] == pytest.approx(0.9 + 0.75 * (0.1 - 0.9) + 0.25 * 0.4)


def test_steps_shrink_until_the_maximum_is_met():
    errors = [abs(float(climb(steps).x[0, 0]) - 0.62) for steps in (5, 100)]
    assert errors[1] < 2e-3
    assert errors[1] < errors[0]


def test_the_search_restarts_from_the_best_point_after_a_poor_stretch():
    recorder = climb(100)
    first = Momentum.marks(100)[0]
    best = recorder.points[max(range(first + 1), key=lambda i: recorder.values[i])]
    after = recorder.points[first + 1]
    # From the best point one halved step (0.4) of the new direction, plus momentum: not from where the walk stood.
    z = (best + 0.4 * (0.62 - best).sign()).clamp(0.1, 0.9)
    walked = recorder.points[first - 1]
    expected = (best + 0.75 * (z - best) + 0.25 * (best - walked)).clamp(0.1, 0.9)
    assert torch.allclose(after, expected)


def test_as_many_points_as_steps_and_the_start():
    assert len(climb(7).points) == 8

"""Sparse steps and the stride of l_1 ascents, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.attacks.ascent import Walk, ascend
from brittle.attacks.keep import Highest
from brittle.attacks.l1_step import leading_step, sparse_step
from brittle.attacks.l1_stride import SparseStride
from brittle.attacks.room import Room
from brittle.threats import EVERYWHERE, ball

ROOM = Room(ball("l1", 3.0))


def step(gradient, count, point=0.5, room=ROOM):
    gradient = torch.tensor([gradient])
    return sparse_step(room, torch.full_like(gradient, point), gradient, torch.tensor([count]))[0].tolist()


def test_the_largest_gradients_move_equally():
    assert step([0.1, -5.0, 2.0, 3.0], 2) == [0.0, -0.5, 0.0, 0.5]
    assert step([0.1, -5.0, 2.0, 3.0], 1) == [0.0, -1.0, 0.0, 0.0]


def test_ties_move_together_and_zeros_stay():
    assert step([2.0, -2.0, 2.0, 2.0], 1) == [0.25, -0.25, 0.25, 0.25]
    assert step([0.0, -2.0, 0.0, 0.0], 3) == [0.0, -1.0, 0.0, 0.0]
    assert step([0.0, 0.0], 1) == [0.0, 0.0]


def test_pixels_at_the_face_they_would_leave_do_not_count():
    assert step([5.0, -1.0, 0.5], 1, point=1.0) == [0.0, -1.0, 0.0]
    assert step([-5.0, 1.0, 0.5], 1, point=0.0) == [0.0, 1.0, 0.0]
    assert step([-5.0, 1.0, 0.5], 1, point=0.0, room=Room(ball("l1", 3.0), EVERYWHERE)) == [-1.0, 0.0, 0.0]


def test_each_row_has_its_own_count():
    gradient = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    steps = sparse_step(ROOM, torch.full((2, 3), 0.5), gradient, torch.tensor([1, 2]))
    assert steps.tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]


@pytest.mark.parametrize(("d", "moved"), [(12, 1), (100, 1), (101, 2), (784, 8)])
def test_a_pgd_step_moves_one_percent(d, moved):
    gradient = torch.randn(2, d, generator=torch.Generator().manual_seed(0))
    steps = leading_step(ROOM, torch.full((2, d), 0.5), gradient)
    assert (steps != 0).sum(1).tolist() == [moved, moved]
    assert torch.allclose(steps.abs().sum(1), torch.ones(2))


def test_checkpoints_come_every_four_percent():
    assert SparseStride.marks(100) == tuple(range(4, 101, 4))
    assert SparseStride.marks(3) == (1, 2, 3)


def walk(peak, x=0.5, rows=1):
    """A walk of d = 20 whose peak differs from x in `peak` coordinates, and which stands one step beyond its peak."""
    centre = torch.full((rows, 20), x)
    top = centre.clone()
    top[:, :peak] += 0.1
    zero, gradient = torch.zeros(rows), torch.ones(rows, 20)
    here = top + 0.05
    return Walk(torch.arange(rows), centre, *[zero] * 2, here, top, gradient, zero, top, gradient * 2, zero + 1, zero)


def test_it_starts_with_a_fifth_of_the_coordinates_and_the_whole_radius():
    stride = SparseStride.begin(walk(9), ROOM)
    assert (stride.count.tolist(), stride.eta.tolist()) == ([4], [3.0])


def test_a_sparser_peak_keeps_steps_long_and_calls_the_walk_back():
    state = walk(9)
    stride = SparseStride.begin(state, ROOM)
    stride.adapt(state, ROOM, 2)  # 20 coordinates before, 9 now
    assert (stride.count.tolist(), stride.eta.tolist()) == ([6], [3.0])
    assert torch.equal(state.point, state.peak)
    assert torch.equal(state.gradient, state.peak_gradient)


def test_a_settled_peak_shortens_steps_to_a_tenth_of_the_radius():
    state = walk(9)
    stride = SparseStride.begin(state, ROOM)
    stride.support = torch.tensor([9])
    stride.adapt(state, ROOM, 2)
    assert stride.eta.tolist() == [2.0]
    assert not torch.equal(state.point, state.peak)
    for _ in range(20):
        stride.adapt(state, ROOM, 2)
    assert stride.eta.tolist() == [pytest.approx(0.3)]


def test_a_walk_that_stands_still_moves_fewer_coordinates():
    state = walk(9)
    stride = SparseStride.begin(state, ROOM)
    stride.support, state.previous = torch.tensor([9]), state.point
    stride.adapt(state, ROOM, 2)
    assert stride.count.tolist() == [2]  # of 4, not of 9
    assert torch.equal(state.point, state.peak)
    for _ in range(4):
        state.previous = state.point
        stride.adapt(state, ROOM, 2)
    assert stride.count.tolist() == [1]


class Slope(nn.Module):
    """A linear function whose two largest weights differ little."""

    def forward(self, x):
        rise = x @ torch.tensor([1.0, 1.1, 0.9, 0.2], dtype=x.dtype)
        return torch.stack([torch.zeros_like(rise), rise], 1)


def test_an_ascent_ends_on_the_vertex_of_ball_and_box():
    x, y = torch.tensor([[0.5, 0.8, 0.5, 0.5]], dtype=torch.float64), torch.tensor([1])
    keeper, room = Highest(x), Room(ball("l1", 0.3))
    ascend(Slope(), x, y, y, x, torch.arange(1), room, lambda z, _: z[:, 1], 50, keeper, SparseStride)
    assert torch.allclose(keeper.x - x, torch.tensor([[0.1, 0.2, 0.0, 0.0]], dtype=torch.float64), atol=1e-6)

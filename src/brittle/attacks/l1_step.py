"""Steps for l_1 balls: equal moves of the coordinates that matter most.

Legend: r rows, d coordinates.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from brittle.attacks.room import Room
from brittle.threats.shape import per_sample

# Of the coordinates, how many a PGD step moves: beyond the 99th percentile of |gradient|, as Tramer & Boneh have it.
_LEADING = 0.01


def leading_step(room: Room, point: Tensor, gradient: Tensor) -> Tensor:
    """Steps of l_1 length 1 that move the leading 1 % of the coordinates equally, (r, *shape): see `sparse_step`."""
    count = ceil(_LEADING * point[0].numel())
    return sparse_step(room, point, gradient, torch.full((len(point),), count, device=point.device))


def sparse_step(room: Room, point: Tensor, gradient: Tensor, count: Tensor) -> Tensor:
    """Steps of l_1 length 1 that move each row's `count` coordinates of largest |gradient| equally, (r, *shape).

    The steepest step moves one coordinate, and the next gradient another: on networks many coordinates at once get
    further (Tramer & Boneh 2019, sparse l_1 descent; Croce & Hein 2021). Coordinates that stand at the face of the box
    they would leave do not count. Coordinates that tie with the last one move too; zero where all are zero.

    Args:
        room: whose box holds the points.
        point: where the step starts, (r, *shape).
        gradient: of the loss at `point`, (r, *shape).
        count: how many coordinates, (r,) int64 from 1 to d.
    """
    stuck = (point + gradient.sign()).clamp_(room.box.low, room.box.high) == point
    free = gradient.masked_fill(stuck, 0.0)
    magnitude = free.flatten(1).abs()
    largest = magnitude.topk(int(count.max()), dim=1).values
    last = largest.gather(1, count[:, None] - 1)
    signs = free.sign().masked_fill_(free.abs() < per_sample(last[:, 0], free), 0.0)
    moved = signs.flatten(1).count_nonzero(1)
    return signs / per_sample(moved.clamp_min(1.0), free)

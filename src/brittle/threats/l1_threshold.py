"""By how much magnitudes must shrink to fit a sum: the core of projections on l_1 balls.

Legend: b batch, d coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_sum_threshold(magnitude: Tensor, room: Tensor, total: float) -> Tensor:
    """The smallest t >= 0 with `sum_i clip(magnitude_i - t, 0, room_i) <= total`, (b,) float64.

    As t falls from the largest magnitude to zero the sum grows along a piecewise linear function: coordinate i starts
    to contribute at `magnitude_i` and is full at `magnitude_i - room_i`. The breakpoints are sorted, the sum is
    accumulated from one to the next, and t lies on the first segment that reaches `total`: exact up to rounding.

    Args:
        magnitude: (b, d), >= 0.
        room: (b, d), >= 0; infinity where a coordinate may keep all of its magnitude.
        total: > 0.
    """
    levels = torch.cat([magnitude, (magnitude - room).clamp_min_(0.0)], 1)
    # Breakpoints at zero end the walk anyway; sparse perturbations have few others.
    count = int((levels > 0).sum(1, dtype=torch.int32).amax()) if levels.numel() else 0
    if count == 0:
        return magnitude.new_zeros(len(magnitude), dtype=torch.float64)
    levels, order = levels.topk(count, dim=1)
    levels = torch.cat([levels, levels.new_zeros(len(levels), 1)], 1).double()
    slope = torch.where(order < magnitude.shape[1], 1.0, -1.0).double().cumsum(1)
    reached = (slope * (levels[:, :-1] - levels[:, 1:])).cumsum(1)
    segment = (reached < total).sum(1, keepdim=True)
    inside = segment.clamp_max(count - 1)
    beyond = reached.gather(1, inside) - total
    # The slope is at least 1 on a segment along which the sum grows.
    threshold = levels.gather(1, inside + 1) + beyond / slope.gather(1, inside).clamp_min(1.0)
    return torch.where(segment < count, threshold, 0.0)[:, 0]

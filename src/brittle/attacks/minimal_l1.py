"""Shortest way to a hyperplane inside a box, l_1."""

from __future__ import annotations

import torch
from torch import Tensor


def l1_amounts(weights: Tensor, room: Tensor, rise: Tensor) -> Tensor:
    """The coordinates of largest weight use up their room one after the other, a knapsack whose items may be divided;
    see `minimal_norms.Norm`."""
    weights, order = weights.sort(dim=1, descending=True, stable=True)
    room = room.gather(1, order)
    gains = weights * room
    wanted = (rise[:, None] - (gains.cumsum(1) - gains)) / weights.clamp_min(torch.finfo(weights.dtype).tiny)
    used = torch.where(weights > 0, torch.minimum(wanted.clamp_min(0.0), room), 0.0)
    return torch.zeros_like(used).scatter(1, order, used)

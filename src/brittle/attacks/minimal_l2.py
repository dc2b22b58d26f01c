"""Shortest way to a hyperplane inside a box, l_2."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.attacks.minimal_level import level

# Weights this small beside the largest one are left where they are: their caps would be astronomically far away.
_NEGLIGIBLE = 1e-12


def l2_amounts(weights: Tensor, room: Tensor, rise: Tensor) -> Tensor:
    """Every coordinate moves in proportion to its weight, or by all its room where that is less (the KKT conditions);
    see `minimal_norms.Norm`."""
    largest = weights.amax(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    shares = weights / largest
    moves = shares > _NEGLIGIBLE
    caps = torch.where(moves, room / shares.clamp_min(_NEGLIGIBLE), 0.0)
    height = level(torch.where(moves, shares * shares, 0.0), caps, rise / largest[:, 0])
    return torch.where(moves, shares * torch.minimum(caps, height[:, None]), 0.0).minimum(room)

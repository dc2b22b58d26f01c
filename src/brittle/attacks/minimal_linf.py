"""Shortest way to a hyperplane inside a box, l_inf."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.attacks.minimal_level import level


def linf_amounts(weights: Tensor, room: Tensor, rise: Tensor) -> Tensor:
    """Every coordinate moves by the same amount, or by all its room where that is less; see `minimal_norms.Norm`."""
    caps = torch.where(weights > 0, room, 0.0)
    return torch.minimum(caps, level(weights, caps, rise)[:, None])

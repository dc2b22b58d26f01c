"""Shortest way to a hyperplane inside a box, l_inf."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.attacks.minimal_level import level


def linf_amounts(weights: Tensor, room: Tensor, rise: Tensor) -> Tensor:
    """Every coordinate moves by the same amount, or by all its room where that is less; see `minimal_norms.Norm`."""
    return torch.minimum(room, level(weights, room, rise)[:, None])

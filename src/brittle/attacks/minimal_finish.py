"""The last moves of a minimal attack: from a misclassified point to one next to the boundary.

Legend: r rows with a misclassified point.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from brittle.attacks.minimal_boundary import excess, likeliest_wrong, nearest_boundary
from brittle.attacks.minimal_nearest import Nearest
from brittle.attacks.minimal_norms import step_to_plane
from brittle.threats import PIXELS

# Forward passes of a search on a segment: its answer is within 1e-4 of a crossing on piecewise linear nets.
_PASSES = 12
# The secant aims a little past the crossing: a point short of it would never move the outer end.
_PAST = 0.02
# How far past the linearised boundary the straight ways go, relative to their length: the network may curve away.
_BEYOND = (1e-5, 1e-3, 1e-2)

# Gradients per sample that `draw_closer` takes.
FINISH_COST = len(_BEYOND)


def draw_closer(model: nn.Module, nearest: Nearest, rows: Tensor) -> None:
    """Look for nearer misclassified points around those found: segment, straight ways, segment.

    The segment search is the final one of Croce & Hein (2020). The straight way, the shortest from x to the boundary
    linearised at the point found, is an addition: where pixels stop at the box the boundary's nearest point is not
    on the segment.

    Args:
        model: frozen.
        nearest: what was found, and where better points go.
        rows: samples with a misclassified point, (r,).
    """
    if len(rows) == 0:
        return
    _along_segment(model, nearest, rows)
    before = nearest.radius[rows]
    for beyond in _BEYOND:
        _straight(model, nearest, rows, beyond)
    moved = rows[nearest.radius[rows] < before]
    if len(moved):
        _along_segment(model, nearest, moved)


def _straight(model: nn.Module, nearest: Nearest, rows: Tensor, beyond: float) -> None:
    x, y, point = nearest.centre[rows], nearest.y[rows], nearest.x[rows]
    here = nearest_boundary(model, point, y, partial(likeliest_wrong, y=y, count=1), nearest.norm)
    centre = x.double().flatten(1)
    gap = here.gap + ((centre - point.double().flatten(1)) * here.normal).sum(1)
    flat = centre + (1 + beyond) * step_to_plane(nearest.norm, centre, here.normal, gap)
    points = flat.clamp(PIXELS.low, PIXELS.high).to(x.dtype).view_as(x)
    with torch.no_grad():
        nearest.see(rows, points, model(points))


def _along_segment(model: nn.Module, nearest: Nearest, rows: Tensor) -> None:
    """Look for a nearer crossing on the segment from each sample to its point (the final search of Croce & Hein 2020).

    Twelve forward passes, secant and midpoint in turn, between the farthest point known to be right and the nearest
    one known to be wrong.
    """
    x, y, far = nearest.centre[rows], nearest.y[rows], nearest.x[rows].clone()
    with torch.no_grad():
        low_value, high_value = excess(model(x), y).double(), excess(model(far), y).double()
        low, high = torch.zeros_like(low_value), torch.ones_like(low_value)
        for number in range(_PASSES):
            share = 0.5 * torch.ones_like(low)
            if number % 2 == 0:
                climb = (high_value - low_value).clamp_min(torch.finfo(torch.float64).tiny)
                share = (_PAST + (1 - _PAST) * -low_value / climb).clamp(_PAST, 1 - _PAST)
            t = low + share * (high - low)
            step = t.view(-1, *([1] * (x.dim() - 1))) * (far.double() - x.double())
            points = (x.double() + step).to(x.dtype).clamp(PIXELS.low, PIXELS.high)
            logits = model(points)
            value, wrong = excess(logits, y).double(), nearest.see(rows, points, logits)
            low, low_value = torch.where(wrong, low, t), torch.where(wrong, low_value, value)
            high, high_value = torch.where(wrong, t, high), torch.where(wrong, value, high_value)

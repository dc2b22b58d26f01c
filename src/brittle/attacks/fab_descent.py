"""The iteration of FAB: to the nearest linearised boundary, drawn back towards x.

Legend: r rows still right at x.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.attacks.minimal_boundary import Candidates, nearest_boundary
from brittle.attacks.minimal_nearest import Nearest, distance
from brittle.attacks.minimal_norms import step_to_plane
from brittle.threats import PIXELS

# alpha_max, eta and beta of the paper's experiments (Croce & Hein 2020, section 4).
_ALPHA_MAX = 0.1
_ETA = 1.05
_BETA = 0.9
# Both distances can be zero at once, on the boundary: alpha is then a half.
_TINY = 1e-12


def descend(
    model: nn.Module, start: Tensor, rows: Tensor, candidates: Candidates, steps: int, nearest: Nearest
) -> None:
    """`steps` iterations of Algorithm 1 (Croce & Hein 2020) from `start`; `nearest` sees every point.

    With d and d0 the shortest ways from the point and from x to the same linearised boundary within the box, and
    `alpha = min(||d|| / (||d|| + ||d0||), 0.1)`:

        point <- clamp((1 - alpha) (point + eta d) + alpha (x + eta d0)),

    and where that is misclassified the point goes back to `x + beta (point - x)`.

    Args:
        model: frozen.
        start: first points (r, *shape) in the box.
        rows: positions of the samples in the batch of `nearest`, (r,).
        candidates: see `nearest_boundary`.
        steps: gradient evaluations per candidate class.
        nearest: the keeper; it also knows x, y and the norm.
    """
    x, y, norm = nearest.centre[rows], nearest.y[rows], nearest.norm
    centre, point = x.double().flatten(1), start
    for _ in range(steps):
        here = nearest_boundary(model, point, y, candidates, norm)
        flat = point.double().flatten(1)
        # Value of the same linear function at x.
        gap = here.gap + ((centre - flat) * here.normal).sum(1)
        way = step_to_plane(norm, flat, here.normal, here.gap)
        way_back = step_to_plane(norm, centre, here.normal, gap)
        length, length_back = norm.ball.length(way) + _TINY, norm.ball.length(way_back) + _TINY
        alpha = (length / (length + length_back)).clamp(max=_ALPHA_MAX)[:, None]
        flat = (1 - alpha) * (flat + _ETA * way) + alpha * (centre + _ETA * way_back)
        point = flat.clamp(PIXELS.low, PIXELS.high).to(x.dtype).view_as(x)
        with torch.no_grad():
            broken = nearest.see(rows, point, model(point))
        back = (x + _BETA * (point - x)).clamp(PIXELS.low, PIXELS.high)
        point = torch.where(broken.view(-1, *([1] * (x.dim() - 1))), back, point)


def starting_points(nearest: Nearest, rows: Tensor, noise: Tensor, limit: Tensor | None) -> Tensor:
    """Random points at half the smallest radius known, at most (section 3.4 of the paper), (r, *shape) in the box."""
    norm, x = nearest.norm, nearest.centre[rows]
    known = nearest.radius[rows]
    if limit is not None:
        known = torch.minimum(known, limit.to(known)[rows])
    length = distance(norm, torch.zeros_like(noise), noise).clamp_min(torch.finfo(torch.float64).tiny)
    scale = known.clamp(max=norm.start) / 2 / length
    step = noise.double() * scale.view(-1, *([1] * (x.dim() - 1)))
    return (x.double() + step).clamp(PIXELS.low, PIXELS.high).to(x.dtype)

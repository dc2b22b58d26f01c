"""A search for the largest Jacobian norm: the lower rung against which upper bounds are judged.

The global constant of a network that is differentiable almost everywhere is the supremum of its Jacobian norm over
all of R^n, so every Jacobian met anywhere is a lower bound of it. First, where the network has ReLUs, many inputs
follow softened gradients (`jacobian_ascent`). Then the best of all climb side by side without gradients: each tries
sparse noise of all sizes, or a point on the line towards another one, and moves where its norm grows. Nothing sits on
a kink but by a chance of probability zero: starting points are moved by a little noise too.

Legend: b inputs, n coordinates, K logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from brittle.bounds.jacobian import logit_jacobians
from brittle.bounds.jacobian_ascent import LEADING, ascend, softened
from brittle.errors import UsageError
from brittle.operators.network import read_network
from brittle.operators.twin import readable_copy

_CLIMBERS = 256
# Share of trials towards another input, and the noise's range in decades of the input's root mean square.
_MIXED = 0.3
_DECADES = (-1.5, 1.0)
_NUDGE = 1e-6
# How far from the pixel box's own corners, where a network without biases has kinks.
_EDGE = 1e-9
# Rounding of the Jacobian itself in float64.
_BELOW = 1 - 1e-9


@dataclass(frozen=True, eq=False)
class SteepestPoint:
    """The largest Jacobian norm found, rounded down, and the input (*shape) where the network has that slope."""

    value: float
    x: Tensor


def search_jacobian_norm(
    model: nn.Module, x: Tensor, norm: str, *, steps: int = 300, seed: int, inside_box: bool = False
) -> SteepestPoint:
    """A lower bound on the Lipschitz constant from input to logits, l_p to l_p.

    Args:
        model: takes inputs (b, *shape), returns logits (b, K); read in float64, left as it is.
        x: (b, *shape) starting points, such as the data.
        norm: "linf" or "l2".
        steps: trials of each climber, after half as many steps of ascent; 0 looks at the starting points alone.
        seed: of the search.
        inside_box: only inputs in [0, 1], for constants of the pixel box; global constants hold on all of R^n.

    Raises:
        UsageError: an unknown norm, no starting points, a negative number of steps.
        ModelError: the model cannot be copied.
    """
    if norm not in LEADING:
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(LEADING)}")
    if len(x) == 0 or steps < 0:
        raise UsageError(f"expected starting points and steps >= 0, got {len(x)} points and {steps} steps")
    twin = readable_copy(model)
    generator = torch.Generator().manual_seed(seed)
    low, high = (_EDGE, 1 - _EDGE) if inside_box else (-inf, inf)

    def measured(points: Tensor) -> Tensor:
        parts = points.reshape(-1, *x.shape[1:]).split(_CLIMBERS)
        return torch.cat([LEADING[norm](logit_jacobians(twin, part))[0] for part in parts])

    def noise(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, dtype=torch.float64, generator=generator)

    def uniform(rows: int, columns: int) -> Tensor:
        return torch.rand(rows, columns, dtype=torch.float64, generator=generator)

    data = x.detach().cpu().to(torch.float64).flatten(1)
    n = data.shape[1]
    data = (data + _NUDGE * noise(len(data), n)).clamp(low, high)
    spread = data.norm(dim=1).mean().clamp_min(1e-3) / n**0.5
    away = (noise(_CLIMBERS // 2, n) * spread * 2).clamp(low, high)
    points = torch.cat([data, away])
    values = measured(points)
    graph = read_network(model, tuple(x.shape[1:])).graph if steps > 1 else None
    soft = None if graph is None else softened(graph)
    if soft is not None:
        some = data[torch.randperm(len(data), generator=generator)[: _CLIMBERS // 2]]
        start = torch.cat([some, away]).reshape(-1, *x.shape[1:])
        risen, norms = ascend(soft, lambda p: logit_jacobians(twin, p), start, LEADING[norm], steps // 2, low, high)
        points, values = torch.cat([points, risen.flatten(1)]), torch.cat([values, norms])
    chosen = values.topk(min(_CLIMBERS, len(values))).indices
    points, values = points[chosen], values[chosen]
    rows = len(points)
    for _ in range(steps):
        other = points[torch.randint(0, rows, (rows,), generator=generator)]
        sizes = 10.0 ** (_DECADES[0] + (_DECADES[1] - _DECADES[0]) * uniform(rows, 1))
        sparse = uniform(rows, n) < uniform(rows, 1)
        lengths = points.norm(dim=1, keepdim=True).clamp_min(_NUDGE) / n**0.5
        trials = points + sizes * lengths * noise(rows, n) * sparse
        between = points + 1.5 * uniform(rows, 1) * (other - points)
        trials = torch.where(uniform(rows, 1) < _MIXED, between, trials).clamp(low, high)
        found = measured(trials)
        better = found > values
        points = torch.where(better[:, None], trials, points)
        values = torch.where(better, found, values)
    best = int(values.argmax())
    return SteepestPoint(float(values[best]) * _BELOW, points[best].reshape(x.shape[1:]))

"""Two lines around an activation on an interval: `lower(v) <= phi(v) <= upper(v)` for every v in [l, u].

Each line is `slope * v + offset`, coordinate by coordinate (b, *shape). Offsets are moved outwards by the rounding of
the lines' own numbers, so the inequalities hold in real numbers.

Sources: ReLU with adaptive lower slope, Zhang et al. 2018 (CROWN), section 3.3; tangents of S-shaped functions, ibid.
section 3.2; the fallback from a slope interval is the quadrilateral of `phi(v) - phi(c) in [low, high] (v - c)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.bounds.ibp import function_error
from brittle.operators.graph import Activation
from brittle.operators.rounding import UNIT

# Bisections of the point where a tangent through an end of the interval touches the curve.
_BISECTIONS = 40


@dataclass(frozen=True)
class Lines:
    """The lines; no `lower_offset` is 0. Where `free`, the lower slope may be any number in [free_low, free_high]."""

    lower_slope: Tensor
    lower_offset: Tensor | None
    upper_slope: Tensor
    upper_offset: Tensor
    free: Tensor | None = None
    free_low: float = 0.0
    free_high: float = 1.0

    def size(self, reach: Tensor) -> Tensor:
        """Largest magnitude of either line on inputs up to `reach` (b,), for rounding: (b,)."""
        parts = [t.abs().flatten(1).amax(1) for t in (self.lower_slope, self.upper_slope)]
        slope = torch.stack(parts).amax(0)
        if self.free is not None:
            slope = slope.clamp_min(max(abs(self.free_low), abs(self.free_high)))
        offsets = [t.abs().flatten(1).amax(1) for t in (self.lower_offset, self.upper_offset) if t is not None]
        return slope * reach + torch.stack(offsets).amax(0)


def is_two_piece(op: Activation) -> bool:
    """Whether the function is `max(v, a v)` with a < 1: ReLU, leaky ReLU, absolute value."""
    return op.kind in ("relu", "leaky_relu", "abs") and op.slopes.high == 1.0 and op.slopes.low < 1.0


def lines(op: Activation, lower: Tensor, upper: Tensor) -> Lines:
    """Lines around `op` on [lower, upper], (b, *shape) each."""
    if is_two_piece(op):
        return two_piece(op.slopes.low, lower, upper)
    if op.kind in S_SHAPED:
        return s_shaped(op, lower, upper)
    return slope_interval(op, lower, upper)


def two_piece(a: float, lower: Tensor, upper: Tensor) -> Lines:
    """`max(v, a v)`: above the chord; below a line through 0 of slope 1 or a, whichever cuts off the smaller area."""
    positive, negative = lower >= 0, upper <= 0
    free = ~positive & ~negative
    width = torch.where(free, upper - lower, 1.0)
    chord = ((upper - a * lower) / width).clamp(min(a, 1.0), 1.0)
    offset = torch.maximum(upper - chord * upper, a * lower - chord * lower)
    offset = offset + 8 * UNIT * (1 + abs(a)) * torch.maximum(upper.abs(), lower.abs())
    one, small = torch.ones_like(lower), torch.full_like(lower, a)
    exact = torch.where(positive, one, small)
    adaptive = torch.where(upper >= -lower, one, small)
    return Lines(
        torch.where(free, adaptive, exact),
        None,
        torch.where(free, chord, exact),
        torch.where(free, offset, 0.0),
        free,
        a,
        1.0,
    )


def slope_interval(op: Activation, lower: Tensor, upper: Tensor) -> Lines:
    """Any function with slopes in [low, high]: `phi(c) + k (v - c) +- (high - low) / 2 * radius`, k the mean slope."""
    center = (lower + upper) / 2
    radius = torch.maximum(upper - center, center - lower)
    value = op.function(center)
    mean = (op.slopes.low + op.slopes.high) / 2
    half = (op.slopes.high - op.slopes.low) / 2 * radius + function_error(lower, upper, value)
    slope = torch.full_like(center, mean)
    return Lines(slope, value - mean * center - half, slope, value - mean * center + half)


def _tanh_slope(v: Tensor) -> Tensor:
    return 1 - torch.tanh(v).square()


def _sigmoid_slope(v: Tensor) -> Tensor:
    return torch.sigmoid(v) * torch.sigmoid(-v)


# Odd up to a constant, convex below 0 and concave above: name -> derivative
S_SHAPED: dict[str, Callable[[Tensor], Tensor]] = {"tanh": _tanh_slope, "sigmoid": _sigmoid_slope}


def s_shaped(op: Activation, lower: Tensor, upper: Tensor) -> Lines:
    """tanh and sigmoid: a chord or a tangent on either side; the lower line is the upper one turned around 0."""
    slope, offset = _above(op, lower, upper)
    turned, turned_offset = _above(op, -upper, -lower)
    middle = 2 * op.function(torch.zeros((), dtype=torch.float64))  # phi(v) = middle - phi(-v)
    error = function_error(lower, upper)
    return Lines(turned, middle - turned_offset - error, slope, offset + error)


def _above(op: Activation, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of a line above the function.

    A tangent at d >= 0 is above the concave part; it is above the convex part too if it is at `lower`. Its height there
    grows with d: the smallest d that reaches phi(lower) is best. Where no d <= upper does, the chord is above.
    """
    slope_at = S_SHAPED[op.kind]
    start = op.function(lower)

    def height(d: Tensor) -> Tensor:
        return op.function(d) - slope_at(d) * (d - lower)

    middle = ((lower + upper) / 2).clamp(min=0.0)
    near, far = torch.zeros_like(lower), upper.clamp(min=0.0)
    for _ in range(_BISECTIONS):
        d = (near + far) / 2
        enough = height(d) >= start
        near, far = torch.where(enough, near, d), torch.where(enough, d, far)
    touch = torch.where(lower >= 0, middle, far)
    tangent = slope_at(touch)
    use_chord = (upper <= 0) | ((lower < 0) & (height(upper) < start))
    width = torch.where(upper > lower, upper - lower, 1.0)
    chord = torch.where(upper > lower, (op.function(upper) - start) / width, 0.0)
    slope = torch.where(use_chord, chord, tangent)
    through = torch.where(use_chord, torch.maximum(start - chord * lower, op.function(upper) - chord * upper), 0.0)
    return slope, torch.where(use_chord, through, op.function(touch) - tangent * touch)

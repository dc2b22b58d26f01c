"""The balls by name, and the part of a ball that survives rounding."""

from __future__ import annotations

import torch

from brittle.errors import UsageError
from brittle.threats.l1 import L1Ball
from brittle.threats.l2 import L2Ball
from brittle.threats.linf import LinfBall
from brittle.threats.protocol import Ball

BALLS: dict[str, type[LinfBall] | type[L2Ball] | type[L1Ball]] = {"linf": LinfBall, "l2": L2Ball, "l1": L1Ball}

# What a projection's own arithmetic can add to a length, relative to the radius.
_ARITHMETIC = {torch.float32: 1e-6, torch.float64: 1e-9}


def ball(norm: str, epsilon: float) -> Ball:
    """The ball of radius `epsilon` (pixel units, > 0) in `norm`.

    Raises:
        UsageError: unknown norm, or a radius that is not a positive finite number.
    """
    if norm not in BALLS:
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(BALLS)}")
    if not 0 < epsilon < float("inf"):
        raise UsageError(f"epsilon must be a positive number in pixel units (pixels are in [0, 1]), got {epsilon!r}")
    return BALLS[norm](float(epsilon))


def inner(threat: Ball, dim: int, *, dtype: torch.dtype = torch.float32, largest: float = 1.0) -> Ball:
    """The slightly smaller ball whose points stay inside `threat` after x + delta is rounded to `dtype`.

    Rounding moves each of the `dim` coordinates by at most u times its magnitude, u = 2^-24 for float32 and 2^-53 for
    float64. So l_inf shrinks by u, l_2 by sqrt(dim) u and l_1 by dim u, times the `largest` magnitude that x + delta
    can have, plus what the projection's own arithmetic can add. An attack that stays here cannot leave the ball.
    Never less than half the radius: the caller decides whether such a radius makes sense.

    Args:
        threat: the ball to stay in.
        dim: coordinates of one input.
        dtype: of the pixels, float32 or float64.
        largest: bound on |x + delta|, 1 for pixels.
    """
    slack = torch.finfo(dtype).eps / 2 * largest * threat.diagonal(dim)
    return BALLS[threat.norm](max(threat.epsilon * (1 - _ARITHMETIC[dtype]) - slack, threat.epsilon * 0.5))

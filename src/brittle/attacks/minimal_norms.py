"""The norms that minimal attacks measure in, and the shortest way to a hyperplane inside the pixel box.

Legend: b rows, d coordinates; everything is float64 and flat, (b, d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.attacks.minimal_l1 import l1_amounts
from brittle.attacks.minimal_l2 import l2_amounts
from brittle.attacks.minimal_linf import linf_amounts
from brittle.errors import UsageError
from brittle.threats import PIXELS, Ball, L1Ball, L2Ball, LinfBall


@dataclass(frozen=True)
class Norm:
    """What a minimal attack asks of a norm.

    Attributes:
        ball: its unit ball, which measures perturbations and covectors.
        amounts: from weights (b, d) >= 0, room (b, d) >= 0 and rise (b,) >= 0 to the a (b, d) of least norm with
            `sum_i weights_i a_i = rise` and `0 <= a <= room`; all the room there is where that is not enough. What it
            says of coordinates of weight zero is not used.
        start: what random starts stay below while nothing is found, pixel units.
    """

    ball: Ball
    amounts: Callable[[Tensor, Tensor, Tensor], Tensor]
    start: float


NORMS: dict[str, Norm] = {
    "linf": Norm(LinfBall(1.0), linf_amounts, 0.3),
    "l2": Norm(L2Ball(1.0), l2_amounts, 1.0),
    "l1": Norm(L1Ball(1.0), l1_amounts, 5.0),
}


def norm_named(norm: str) -> Norm:
    """The norm called `norm` in `NORMS`.

    Raises:
        UsageError: no such norm.
    """
    if norm not in NORMS:
        raise UsageError(f"minimal attacks know the norms {', '.join(NORMS)}, got {norm!r}: choose one of these")
    return NORMS[norm]


def step_to_plane(norm: Norm, points: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
    """The shortest d (b, d) for which `points + d` lies in [0, 1] and on the plane `<normal, d> + gap = 0`.

    Exact (the problem of Croce & Hein 2020, eq. 4); where the box does not reach the plane, the corner of the box that
    comes nearest to it.

    Args:
        norm: what is shortest.
        points: (b, d) in the pixel box.
        normal: (b, d); a row of zeros gives no step.
        gap: value of the linear function at the points, (b,).
    """
    towards = -normal.sign() * gap.sign()[:, None]
    room = torch.where(towards > 0, PIXELS.high - points, points - PIXELS.low).clamp_min(0.0)
    return towards * norm.amounts(normal.abs(), room, gap.abs())

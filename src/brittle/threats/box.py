"""The pixel box: which values an input may have, whatever the ball."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Box:
    """Allowed pixel values `[low, high]`."""

    low: float = 0.0
    high: float = 1.0


# What images are, and a box without walls: studies ask what an attack would do if pixels had no bounds.
PIXELS = Box()
EVERYWHERE = Box(-float("inf"), float("inf"))


def in_box(x: Tensor, delta: Tensor, box: Box = PIXELS) -> Tensor:
    """`x + delta` with pixels clamped to the box. Clamping moves each coordinate towards x, so the ball is kept."""
    return (x + delta).clamp_(box.low, box.high)

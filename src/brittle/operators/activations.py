"""Slope intervals of activations: `phi(a) - phi(b) = s (a - b)` with `low <= s <= high` for every pair a != b.

Constants that are not simple are rounded outwards in the fourth digit; a test compares them with a fine grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

ELU_ALPHA = 1.0
LEAKY_SLOPE = 0.01


@dataclass(frozen=True)
class Slopes:
    """The smallest and largest slope between two points of a scalar activation."""

    low: float
    high: float


def _fixed(low: float, high: float) -> Callable[..., Slopes]:
    return lambda *_args, **_kwargs: Slopes(low, high)


def _leaky(slope: float = LEAKY_SLOPE, *_args: Any) -> Slopes:
    return Slopes(min(float(slope), 1.0), max(float(slope), 1.0))


def _elu(alpha: float = ELU_ALPHA, scale: float = 1.0, input_scale: float = 1.0) -> Slopes:
    return Slopes(0.0, float(scale) * max(1.0, float(alpha) * float(input_scale)))


def _gelu(approximate: str = "none", **_kwargs: Any) -> Slopes:
    return Slopes(-0.1290, 1.1290) if approximate == "none" else Slopes(-0.1292, 1.1292)


# operator of the exported program -> slopes from its extra arguments
SLOPES: dict[str, Callable[..., Slopes]] = {
    "aten.relu": _fixed(0.0, 1.0),
    "aten.relu6": _fixed(0.0, 1.0),
    "aten.hardtanh": _fixed(0.0, 1.0),
    "aten.clamp_min": _fixed(0.0, 1.0),
    "aten.clamp": _fixed(0.0, 1.0),
    "aten.leaky_relu": _leaky,
    "aten.tanh": _fixed(0.0, 1.0),
    "aten.sigmoid": _fixed(0.0, 0.25),
    "aten.softplus": _fixed(0.0, 1.0),
    "aten.elu": _elu,
    "aten.selu": _fixed(0.0, 1.7581),
    "aten.gelu": _gelu,
    "aten.silu": _fixed(-0.0999, 1.0999),
    "aten.mish": _fixed(-0.1131, 1.0885),
    "aten.hardswish": _fixed(-0.5, 1.5),
    "aten.hardsigmoid": _fixed(0.0, 0.1667),
    "aten.abs": _fixed(-1.0, 1.0),
}

Function = Callable[[Tensor], Tensor]

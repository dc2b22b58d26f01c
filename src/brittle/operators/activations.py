"""Slope intervals of activations: `phi(a) - phi(b) = s (a - b)` with `low <= s <= high` for every pair a != b.

Constants that are not simple are rounded outwards in the fourth digit; a test compares them with a fine grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ELU_ALPHA = 1.0
LEAKY_SLOPE = 0.01
SOFTPLUS_THRESHOLD = 20.0


@dataclass(frozen=True)
class Slopes:
    """The smallest and largest slope between two points of a scalar activation."""

    low: float
    high: float


def _fixed(low: float, high: float) -> Callable[..., Slopes]:
    return lambda *_args, **_kwargs: Slopes(low, high)


def _between(*ends: float) -> Slopes:
    return Slopes(min(ends), max(ends))


def _leaky(slope: float = LEAKY_SLOPE, *_args: Any, **named: Any) -> Slopes:
    return _between(float(named.get("negative_slope", slope)), 1.0)


def _elu(alpha: float = ELU_ALPHA, scale: float = 1.0, input_scale: float = 1.0) -> Slopes:
    if input_scale <= 0:
        raise ValueError("an ELU with input scale <= 0 grows exponentially")
    return _between(0.0, float(scale), float(scale) * float(alpha) * float(input_scale))


def _celu(alpha: float = ELU_ALPHA) -> Slopes:
    if alpha <= 0:
        raise ValueError("a CELU with alpha <= 0 grows exponentially")
    return Slopes(0.0, 1.0)


def _softplus(beta: float = 1.0, threshold: float = SOFTPLUS_THRESHOLD) -> Slopes:
    # Beyond the threshold torch returns x itself: a step of log(1 + exp(-threshold)) / beta, 2e-9 for the default,
    # which float32 does not see. A step has no slope.
    if threshold < SOFTPLUS_THRESHOLD or beta == 0:
        raise ValueError("softplus with beta 0 or a threshold below 20 jumps at the threshold")
    return Slopes(0.0, 1.0)


# Operator of the exported program -> slopes from its extra arguments; ValueError says why there are none.
SLOPES: dict[str, Callable[..., Slopes]] = {
    "aten.relu": _fixed(0.0, 1.0),
    "aten.relu6": _fixed(0.0, 1.0),
    "aten.hardtanh": _fixed(0.0, 1.0),
    "aten.clamp": _fixed(0.0, 1.0),
    "aten.clamp_min": _fixed(0.0, 1.0),
    "aten.clamp_max": _fixed(0.0, 1.0),
    "aten.softshrink": _fixed(0.0, 1.0),
    "aten.leaky_relu": _leaky,
    "aten.tanh": _fixed(0.0, 1.0),
    "aten.sigmoid": _fixed(0.0, 0.25),
    "aten.log_sigmoid": _fixed(0.0, 1.0),
    "aten.softplus": _softplus,
    "aten.elu": _elu,
    "aten.celu": _celu,
    "aten.selu": _fixed(0.0, 1.7581),
    "aten.gelu": _fixed(-0.1290, 1.1290),  # exact and tanh form
    "aten.silu": _fixed(-0.0999, 1.0999),
    "aten.mish": _fixed(-0.1126, 1.0885),
    "aten.hardswish": _fixed(-0.5, 1.5),
    "aten.hardsigmoid": _fixed(0.0, 0.1667),
    "aten.abs": _fixed(-1.0, 1.0),
    "aten.sin": _fixed(-1.0, 1.0),
    "aten.cos": _fixed(-1.0, 1.0),
}

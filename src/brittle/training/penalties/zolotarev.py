"""The best rational approximation of the sign function on [l, 1], and of two of them one inside the other.

    Z(x) = c x (1 + sum_j a_j / (x^2 + c_j)),   j = 1..m,   of type (2m + 1, 2m).

Its error on [l, 1] is about `4 exp(-(2m + 1) pi^2 / (2 ln(4 / l)))`; one of type (2m + 1, 2m) inside one of type
(2n + 1, 2n) is as good as a single one of degree (2m + 1)(2n + 1). Below l it rises from 0 without a wiggle.
Source: Zolotarev 1877; Nakatsukasa & Freund, SIAM Review 58 (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
from scipy.special import ellipj, ellipk


@dataclass(frozen=True)
class Step:
    """Z: shifts `c_j`, residues `a_j`, the factor `c`."""

    shifts: tuple[float, ...]
    residues: tuple[float, ...]
    factor: float


@cache
def one_step(low: float, terms: int) -> tuple[Step]:
    """Z with m = `terms`, centred on 1: as far above as below it on [low, 1]."""
    shifts, residues = best(low, terms)
    return (Step(shifts, residues, 2 / sum(_range(shifts, residues, low))),)


@cache
def two_steps(low: float, first: int, second: int) -> tuple[Step, Step]:
    """The inner Z with m = `first`, whose values on [low, 1] reach up to 1, and the outer one, centred on 1."""
    shifts, residues = best(low, first)
    least, most = _range(shifts, residues, low)
    return (Step(shifts, residues, 1 / most), *one_step(least / most, second))


def best(low: float, terms: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`c_j` and `a_j` on [low, 1], before the factor."""
    parameter = 1 - low**2
    u = np.arange(1, 2 * terms + 1) * ellipk(parameter) / (2 * terms + 1)
    sn, cn, _, _ = ellipj(u, parameter)
    c = low**2 * (sn / cn) ** 2
    poles, zeros = c[0::2].tolist(), c[1::2].tolist()
    residues = tuple(
        prod(zero - pole for zero in zeros) / prod(other - pole for other in poles if other != pole) for pole in poles
    )
    return tuple(poles), residues


def _range(shifts: tuple[float, ...], residues: tuple[float, ...], low: float) -> tuple[float, float]:
    """Least and greatest value on [low, 1], without the factor."""
    x = np.geomspace(low, 1, 20_001)
    y = x * (1 + sum(a / (x**2 + c) for a, c in zip(residues, shifts, strict=True)))
    return float(y.min()), float(y.max())

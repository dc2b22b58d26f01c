"""Does a bound order nets as their measured gap does? Pearson and Spearman with bootstrap intervals over nets.

The paper reports one coefficient, 0.947 (Barsbey et al., ICLR 2026), for its bound against F_adv - F. Legend: n nets,
r resamples. An interval covers the choice of nets from the family only: nets that share a seed or a parent are not
independent, so it is rather too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from brittle.errors import UsageError
from brittle.results.correlation import Coefficient, Correlation

_LEVEL = 95.0
Array = NDArray[np.float64]


@dataclass(frozen=True)
class NetGap:
    """One net of a family: `bound` on the gap F_adv - F (nats) by one rung, and the gap an attack measured."""

    net: str
    scale_held: bool
    rung: str
    norm: str
    bound: float
    gap: float


def correlations(rows: Sequence[NetGap], *, seed: int, resamples: int = 2000) -> tuple[Correlation, ...]:
    """For every rung and norm: nets with held scale, nets with free scale, and all of them pooled.

    A group of fewer than 3 nets is left out.

    Raises:
        UsageError: no rows, a number that is not finite, a net twice under one rung and norm, or resamples < 1.
    """
    _check(rows, resamples)
    found = []
    for norm in dict.fromkeys(row.norm for row in rows):
        for rung in dict.fromkeys(row.rung for row in rows):
            own = [row for row in rows if row.norm == norm and row.rung == rung]
            groups = {
                "scale held": [row for row in own if row.scale_held],
                "scale free": [row for row in own if not row.scale_held],
                "pooled": own,
            }
            for group, members in groups.items():
                if len(members) < 3:
                    continue
                bound, gap = np.array([r.bound for r in members]), np.array([r.gap for r in members])
                pearson, spearman = correlate(bound, gap, seed=seed, resamples=resamples)
                found.append(Correlation(group, rung, norm, len(members), pearson, spearman))
    return tuple(found)


def correlate(bound: Array, gap: Array, *, seed: int, resamples: int = 2000) -> tuple[Coefficient, Coefficient]:
    """Pearson's and Spearman's coefficient of two (n,) arrays, each with its percentile bootstrap interval."""
    draws = np.random.default_rng(seed).integers(0, len(bound), size=(resamples, len(bound)))
    x, y = bound[draws], gap[draws]
    ranked = [stats.rankdata(values, axis=-1) for values in (bound, gap, x, y)]
    return (
        _coefficient(_pearson(bound, gap), _pearson(x, y)),
        _coefficient(_pearson(ranked[0], ranked[1]), _pearson(ranked[2], ranked[3])),
    )


def _pearson(x: Array, y: Array) -> Array:
    """Row by row; NaN where a side is constant."""
    constant = (np.ptp(x, axis=-1) == 0) | (np.ptp(y, axis=-1) == 0)
    # powers of a large bound would overflow: its unit does not matter
    x, y = (v / np.maximum(np.abs(v).max(-1, keepdims=True), np.finfo(float).tiny) for v in (x, y))
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return np.where(constant, np.nan, np.clip(value, -1.0, 1.0))


def _coefficient(value: Array, draws: Array) -> Coefficient:
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or len(defined) == 0:
        return Coefficient(None, None)
    low, high = np.percentile(defined, [(100 - _LEVEL) / 2, (100 + _LEVEL) / 2])
    return Coefficient(float(value), (float(low), float(high)))


def _check(rows: Sequence[NetGap], resamples: int) -> None:
    if not rows or resamples < 1:
        raise UsageError(f"correlations need rows and resamples >= 1, got {len(rows)} rows and {resamples} resamples")
    seen = set()
    for row in rows:
        if not (np.isfinite(row.bound) and np.isfinite(row.gap)):
            raise UsageError(
                f"correlations need finite numbers, got bound {row.bound} and gap {row.gap} of {row.net} "
                f"({row.rung}, {row.norm}): leave such nets out and say so"
            )
        key = (row.net, row.rung, row.norm)
        if key in seen:
            raise UsageError(
                f"each net counts once for a rung and norm, got {row.net} twice for {row.rung}, {row.norm}"
            )
        seen.add(key)

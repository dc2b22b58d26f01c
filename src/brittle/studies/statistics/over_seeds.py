"""Tests and intervals whose only unit of replication is the training seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from brittle.errors import UsageError
from brittle.studies.statistics.signed import SignedP
from brittle.studies.statistics.table import Array


def seed_test(values: Array) -> SignedP:
    """Student's t over seeds of one number per seed, two-sided.

    What happens within a seed (levels that share a start, nested compressions, cells that share a dense network) is
    summed into that number first, so no correlation within a seed can break the test; it needs seeds to be
    independent and their numbers near normal.

    Args:
        values: (n,) contrasts, n >= 2.

    Raises:
        UsageError: fewer than 2 values.
    """
    values = _column(values)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    if error <= 1e-12 * abs(mean):  # all seeds alike: no t; a permutation test beside it decides
        return SignedP(float(mean == 0), float(np.sign(mean)) * np.inf if mean else 0.0)
    t = mean / error
    return SignedP(float(2 * special.stdtr(len(values) - 1, -abs(t))), t)


def mean_interval(values: Array, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean over seeds, in the unit of the values.

    A bootstrap of five seeds is far too narrow (about 85 % for 95 %), so verdicts use this one.

    Args:
        values: (n,) one number per seed, n >= 2.
        level: confidence level in (0, 1).

    Raises:
        UsageError: fewer than 2 values, or a level outside (0, 1).
    """
    values = _column(values)
    _check_level(level)
    half = special.stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def bootstrap_interval(
    arrays: tuple[Array, ...],
    statistic: Callable[..., Array],
    seed: int,
    level: float = 0.95,
    resamples: int = 2_000,
) -> tuple[float, float]:
    """Percentile bootstrap over seeds (Efron & Tibshirani 1993, ch. 13): a seed is drawn with all its levels.

    Args:
        arrays: each (n, ...), one row per seed; the same rows are drawn from all.
        statistic: takes the arrays with a resample axis in front, (b, n, ...), and gives (b,); NaN is left out.
        seed: of the resampling.
        level: confidence level in (0, 1).
        resamples: draws.

    Returns:
        (low, high); (nan, nan) if the statistic is undefined in every draw.

    Raises:
        UsageError: arrays of different or fewer than 2 rows, or a level outside (0, 1).
    """
    _check_level(level)
    rows = {len(array) for array in arrays}
    if len(rows) != 1 or min(rows) < 2:
        raise UsageError(f"expected arrays with the same number of seeds, at least 2, got {[len(a) for a in arrays]}")
    draw = np.random.default_rng(seed).integers(0, min(rows), size=(resamples, min(rows)))
    values = np.asarray(statistic(*(np.asarray(array, dtype=np.float64)[draw] for array in arrays)))
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _column(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise UsageError(f"expected one number per seed for at least 2 seeds, got shape {values.shape}")
    return values


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"a confidence level is in (0, 1), got {level!r}: 0.95 is usual")

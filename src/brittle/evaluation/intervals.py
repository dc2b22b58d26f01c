"""Confidence intervals of accuracies and of their differences. Free of torch.

Legend: n test samples, r repeats (training seeds, children of one base).
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from brittle.errors import UsageError


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), fractions in [0, 1].

    Raises:
        UsageError: n < 1, successes outside [0, n], or a level outside (0, 1).
    """
    _check_level(level)
    if n < 1 or not 0 <= successes <= n:
        raise UsageError(f"expected 0 <= successes <= n and n >= 1, got successes={successes}, n={n}")
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def paired_drop_interval(
    base_right: ArrayLike, child_right: ArrayLike, seed: int, level: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Interval of `100 (base accuracy - child accuracy)` on the same samples, percentage points.

    A percentile bootstrap over the samples (Efron & Tibshirani 1993, ch. 13) of the differences in {-1, 0, 1}, which
    only needs multinomial counts. One loss and one gain are added first, as Bonett & Price (2012) do for their Wald
    interval: without them the bootstrap of a few discordant pairs is too narrow, and of none it is [0, 0], a
    certainty that n samples cannot give. With none it becomes about +-3/n, the rule of three. It covers the choice of
    test samples only, not the training seed.

    Args:
        base_right: (n,) bool, whether the base is right on each sample.
        child_right: (n,) bool, the same samples in the same order.
        seed: of the resampling.
        level: confidence level in (0, 1).
        resamples: bootstrap draws.

    Raises:
        UsageError: arrays that are not (n,) booleans of equal length, n < 1, or a level outside (0, 1).
    """
    _check_level(level)
    base, child = _pair(base_right, child_right)
    if base.ndim != 1:
        raise UsageError(f"expected one row of outcomes, got shape {base.shape}: use two_level_interval for repeats")
    lost, gained, n = _counts(base, child)
    shares = np.array([lost, gained, n - lost - gained]) / n
    draws = np.random.default_rng(seed).multinomial(int(n), shares, size=resamples)
    return _percentiles(100.0 * (draws[:, 0] - draws[:, 1]) / n, level)


def samples_for_half_width(
    base_right: ArrayLike, child_right: ArrayLike, half_width: float, level: float = 0.95
) -> int:
    """Number of test samples whose paired interval would be `drop +- half_width` percentage points.

    `z^2 (p_lost + p_gained - (p_lost - p_gained)^2) / half_width^2` with the shares estimated from these samples (one
    loss and one gain added). A planning number, not a promise.

    Raises:
        UsageError: as `paired_drop_interval`, or a half width that is not positive.
    """
    _check_level(level)
    if not half_width > 0:
        raise UsageError(f"the half width is a positive number of percentage points, got {half_width!r}")
    lost, gained, n = _counts(*_pair(base_right, child_right))
    variance = (lost + gained) / n - ((lost - gained) / n) ** 2
    z = stats.norm.ppf((1 + level) / 2)
    return max(1, ceil(z**2 * variance / (half_width / 100.0) ** 2))


def two_level_interval(
    base_right: ArrayLike, child_right: ArrayLike, seed: int, level: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Interval of the mean drop over repeats *and* samples, percentage points.

    All repeats are measured on the same n samples. Each side's length is `sqrt(a^2 + b^2)`: a is that side of the
    bootstrap over samples (as in `paired_drop_interval`, a sample's repeats staying together), b Student's half width
    of the r repeat means. Repeats are not resampled: with the usual 3 to 5 of them a bootstrap is far too narrow. The
    scatter of repeat means also holds some of the samples' noise, so the interval is a little wide, never narrow.

    Args:
        base_right: (r, n) bool, row i is the base that child i was made from (repeat the row for one base).
        child_right: (r, n) bool.
        seed: of the resampling.
        level: confidence level in (0, 1).
        resamples: bootstrap draws.

    Raises:
        UsageError: arrays that are not booleans of one shape (r, n) with r >= 2, or a level outside (0, 1).
    """
    _check_level(level)
    base, child = _pair(base_right, child_right)
    if base.ndim != 2 or len(base) < 2:
        raise UsageError(f"expected outcomes (repeats, n) with at least 2 repeats, got shape {base.shape}")
    difference = base.astype(np.int64) - child.astype(np.int64)
    repeats = len(difference)
    means = 100.0 * difference.mean(1)
    drop = float(means.mean())
    between = stats.t.ppf((1 + level) / 2, repeats - 1) * means.std(ddof=1) / repeats**0.5

    # Samples with equal sums over repeats are interchangeable, so a draw is one multinomial over the distinct sums.
    sums, counts = np.unique(np.append(difference.sum(0), [-repeats, repeats]), return_counts=True)
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = _percentiles(100.0 * (draws @ sums) / (n * repeats), level)
    below, above = float(np.hypot(drop - low, between)), float(np.hypot(high - drop, between))
    return max(-100.0, drop - below), min(100.0, drop + above)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"a confidence level is in (0, 1), got {level!r}: 0.95 is usual")


def _pair(base_right: ArrayLike, child_right: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    base, child = np.asarray(base_right), np.asarray(child_right)
    if base.dtype != np.bool_ or child.dtype != np.bool_ or base.shape != child.shape or base.size == 0:
        raise UsageError(
            "expected two boolean arrays of one shape, the same samples in the same order, "
            f"got {base.dtype} {base.shape} and {child.dtype} {child.shape}"
        )
    return base, child


def _counts(base: NDArray[np.bool_], child: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Losses, gains and samples, with one loss and one gain added."""
    return int((base & ~child).sum()) + 1, int((~base & child).sum()) + 1, base.size + 2


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

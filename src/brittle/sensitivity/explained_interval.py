"""Bootstrap intervals of a ratio of means over samples. Free of torch.

Legend: n samples, r repeats of one sample (seeds, random draws), B resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brittle.errors import UsageError

# Numbers that a block of resampling weights may hold.
_BLOCK = 4_000_000


def ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, seed: int, *, level: float = 0.95, resamples: int = 2_000
) -> tuple[float, float]:
    """Percentile bootstrap over samples of `sum(numerator) / sum(denominator)` (Efron & Tibshirani 1993, ch. 13).

    Resamples whose denominator vanishes are left out. With a denominator of ones it is the interval of a mean.

    Args:
        numerator: (n,) finite numbers.
        denominator: (n,) numbers >= 0, not all zero.
        seed: of the resampling.
        level: confidence level in (0, 1).
        resamples: bootstrap draws.

    Raises:
        UsageError: arrays that are not (n,) of equal length with such numbers, or a level outside (0, 1).
    """
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if not 0 < level < 1:
        raise UsageError(f"a confidence level is in (0, 1), got {level!r}: 0.95 is usual")
    if top.ndim != 1 or top.shape != bottom.shape or top.size == 0:
        raise UsageError(f"expected two rows of numbers of equal length, got shapes {top.shape} and {bottom.shape}")
    if not (np.isfinite(top).all() and np.isfinite(bottom).all() and (bottom >= 0).all() and bottom.any()):
        raise UsageError("expected finite numbers over denominators >= 0 that are not all zero")
    # Equal pairs are interchangeable: outcomes of attacks have few distinct ones.
    pairs, counts = np.unique(np.stack([top, bottom], 1), axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    n, drawn = int(counts.sum()), []
    for block in _blocks(resamples, len(pairs)):
        sums = rng.multinomial(n, counts / n, size=block) @ pairs
        drawn.append(sums[sums[:, 1] > 0])
    kept = np.concatenate(drawn)
    low, high = np.quantile(kept[:, 0] / kept[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def damage_share(
    broken: NDArray[np.bool_], full: NDArray[np.bool_], seed: int
) -> tuple[float, tuple[float, float]] | None:
    """Samples that an attack breaks over samples that the full attack breaks, with its interval over samples.

    One sample broken by the attack alone and one by the full attack alone are added before the resampling (as
    Bonett & Price 2012 do for differences): where the two always agree the interval is still no single point.

    Args:
        broken: (r, n) bool, the attack's outcomes; a sample's repeats stay together.
        full: (r, n) bool, the full attack's; or (1, n), the same for every repeat.
        seed: of the resampling.

    Returns:
        The share, which may exceed 1, and the interval; None where the full attack breaks nothing.

    Raises:
        UsageError: outcomes that are not boolean or whose shapes do not match.
    """
    if broken.dtype != np.bool_ or full.dtype != np.bool_ or broken.ndim != 2 or full.ndim != 2:
        raise UsageError(f"expected boolean outcomes (repeats, n), got {broken.dtype} {broken.shape}, {full.shape}")
    if len(full) not in (1, len(broken)) or full.shape[1] != broken.shape[1]:
        raise UsageError(f"expected outcomes of the same samples, got shapes {broken.shape} and {full.shape}")
    repeats = len(broken)
    top, bottom = broken.sum(0), np.broadcast_to(full, broken.shape).sum(0)
    if not bottom.any():
        return None
    interval = ratio_interval(np.append(top, [repeats, 0]), np.append(bottom, [0, repeats]), seed)
    return float(top.sum() / bottom.sum()), interval


def _blocks(resamples: int, width: int) -> list[int]:
    size = max(1, min(resamples, _BLOCK // width))
    return [size] * (resamples // size) + ([resamples % size] if resamples % size else [])

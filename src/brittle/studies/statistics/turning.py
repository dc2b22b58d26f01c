"""The turning point: does a mild strength do better than none, and which?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brittle.errors import UsageError
from brittle.studies.statistics.table import Array


@dataclass(frozen=True, eq=False)
class TurningPoint:
    """The level with the best mean over seeds.

    Attributes:
        level: its position; 0 is the reference, that is, no strength helps.
        shares: (k,) in which share of bootstrap resamples of seeds each level is the best.
        gains: (n,) y of the level that is best for the *other* seeds, minus the reference: chosen without the seed
            that it is scored on, so the choice of the best of k does not make a gain out of noise.
    """

    level: int
    shares: Array
    gains: Array


def turning_point(y: Array, seed: int, resamples: int = 2_000) -> TurningPoint:
    """The best level of an outcome where more is better, first on ties.

    Args:
        y: (n, k), n >= 2 seeds, level 0 the reference.
        seed: of the resampling.
        resamples: bootstrap draws of seeds.

    Raises:
        UsageError: another shape, or NaN.
    """
    y = np.asarray(y, dtype=np.float64)
    if y.ndim != 2 or min(y.shape) < 2 or np.isnan(y).any():
        raise UsageError(f"expected complete outcomes (seeds, levels), at least 2 of each, got shape {y.shape}")
    n, k = y.shape
    best = y[np.random.default_rng(seed).integers(0, n, size=(resamples, n))].mean(1).argmax(1)
    others = (y.sum(0) - y).argmax(1)
    gains = y[np.arange(n), others] - y[:, 0]
    return TurningPoint(int(y.mean(0).argmax()), np.bincount(best, minlength=k) / resamples, gains)

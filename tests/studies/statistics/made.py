"""Made tables for tests of the statistics."""

from __future__ import annotations

import numpy as np

from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.table import CellTable

ROBUST = Target("robust", "robust accuracy", -1, 2.0, limit=0.0)
RATIO = Target("ratio", "the ratio robust / clean", -1, 2.0, limit=0.0)
BOTH = Criterion((ROBUST, RATIO))


def falling(rng, total, noise=0.5, seeds=5, levels=6, start=50.0):
    """(seeds, levels) that fall by `total` from the first level to the last, the same line for all seeds."""
    return start - total * np.linspace(0, 1, levels) + rng.normal(0, noise, (seeds, levels))


def table(outcomes, name="low rank, digits", x=None, **more):
    n, k = next(iter(outcomes.values())).shape
    x = np.linspace(1, 2, k) + 0.01 * np.arange(n)[:, None] if x is None else x
    return CellTable(name, tuple(f"s{i}" for i in range(k)), tuple(range(n)), "rank share", x, outcomes, **more)


def both(robust, ratio, **more):
    return table({"robust": robust, "ratio": ratio}, **more)

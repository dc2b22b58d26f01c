"""The question of a turning point: does some strength do better than none, chosen without the seed it is scored on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from brittle.errors import UsageError
from brittle.studies.statistics.over_seeds import seed_test
from brittle.studies.statistics.signed import SignedP
from brittle.studies.statistics.table import Array, CellTable
from brittle.studies.statistics.words import change

# How much too small the p value of independent seeds may be.
DEPENDENCE: Final = 3.0


@dataclass(frozen=True)
class Peaks:
    """What an outcome gains at the level where the guide is best on the other seeds (a `Design`).

    Legend: n seeds, k levels, b draws. For seed s, `l_s = argmax over l of sum over r != s of guide_rl`, ties to the
    milder one, and the effect is `y_{s, l_s} - y_{s, 0}`: 0 where no strength helps the others. Each effect has mean 0
    where no level differs, but seeds that choose for each other are not independent, and Student's t over them rejects
    up to 2.8 times too often (simulated, normal noise, 5 seeds, 6 levels, 1 to 4 cells): p is that of the t times 3.

    Attributes:
        guide: the outcome whose best level is looked for; more of it is better.
    """

    guide: str

    def effects(self, table: CellTable, outcome: str) -> Array:
        """(n,) the gain of each seed."""
        return gains_at_best(table.outcome(outcome)[None], table.outcome(self.guide)[None])[0]

    def reference(self, table: CellTable, outcome: str) -> float | None:
        """Mean of the first level."""
        return float(table.outcome(outcome)[:, 0].mean())

    def test(self, tables: Sequence[CellTable], outcome: str, seed: int, resamples: int) -> SignedP:
        """Three times the p of Student's t over seeds; cells are summed within a seed.

        Raises:
            UsageError: no cells, or cells with other seeds.
        """
        if not tables or len({table.seeds for table in tables}) != 1:
            raise UsageError(f"expected cells with the same seeds, got {sorted({table.seeds for table in tables})}")
        found = seed_test(np.sum([self.effects(table, outcome) for table in tables], axis=0))
        return SignedP(min(1.0, DEPENDENCE * found.p), found.statistic)

    def sentence(self, label: str, unit: str, value: float, interval: tuple[float, float]) -> str:
        """ "at the best strength 1.3 points of robust accuracy are gained [0.1, 2.4]"."""
        return f"at the best strength {change(label, unit, value, interval)}"


def gains_at_best(y: Array, guide: Array) -> Array:
    """(b, n) gains over level 0 at the level that is best for the other seeds' guide.

    Args:
        y: (b, n, k).
        guide: (b, n, k), n >= 2.
    """
    others = guide.sum(1, keepdims=True) - guide
    best = others.argmax(2)[:, :, None]
    return np.take_along_axis(y, best, axis=2)[:, :, 0] - y[:, :, 0]

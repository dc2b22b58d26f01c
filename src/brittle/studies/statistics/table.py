"""What a cell of a claim measured: outcomes and the predictor, one row per seed and one column per strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from brittle.errors import UsageError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CellTable:
    """One cell: a source on a task, with the scale held or free.

    Attributes:
        cell: its name for people, such as "low rank, digits".
        levels: k >= 2 names of strengths in rising order; the first is the reference (dense).
        seeds: n training seeds, one per row.
        predictor: name of x.
        x: (n, k) measured compressibility (or the bound, where the claim is about that).
        outcomes: (n, k) arrays by name, accuracies in points (0 to 100). NaN is a trial without an answer.
        scale: "held", "free" or any other word under which the report shows cells apart.
        pool: cells with the same non-empty pool share their networks of level 0 and have the same seeds.
        counts: whether the cell decides about the claim, or is only shown.
        trials: (n, k) keys of the trials behind each number, more than one where it is a difference; () for unknown.
    """

    cell: str
    levels: tuple[str, ...]
    seeds: tuple[int, ...]
    predictor: str
    x: Array
    outcomes: Mapping[str, Array]
    scale: str = "free"
    pool: str = ""
    counts: bool = True
    trials: tuple[tuple[tuple[str, ...], ...], ...] = ()

    def __post_init__(self) -> None:
        n, k = len(self.seeds), len(self.levels)
        if k < 2 or len(set(self.seeds)) != n:
            raise UsageError(
                f"cell {self.cell!r}: expected at least 2 levels and seeds that differ, got {k}, {self.seeds}"
            )
        if not self.outcomes:
            raise UsageError(f"cell {self.cell!r}: expected at least one outcome, got none")
        if self.trials and (len(self.trials) != n or any(len(row) != k for row in self.trials)):
            raise UsageError(f"cell {self.cell!r}: expected trials' keys of shape (seeds, levels) = ({n}, {k}) or none")
        object.__setattr__(self, "x", self._checked(self.predictor, self.x))
        object.__setattr__(self, "outcomes", {key: self._checked(key, y) for key, y in self.outcomes.items()})

    def _checked(self, name: str, values: Array) -> Array:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(self.seeds), len(self.levels)) or np.isinf(array).any():
            raise UsageError(
                f"cell {self.cell!r}: expected {name!r} as finite numbers (or NaN for a missing trial) of shape "
                f"(seeds, levels) = ({len(self.seeds)}, {len(self.levels)}), got shape {array.shape}"
            )
        return array

    def outcome(self, name: str) -> Array:
        """The (n, k) values of one outcome.

        Raises:
            UsageError: no outcome of that name.
        """
        if name not in self.outcomes:
            raise UsageError(f"cell {self.cell!r} has no outcome {name!r}: choose one of {sorted(self.outcomes)}")
        return self.outcomes[name]

    def complete(self) -> CellTable:
        """Without the seeds that miss any trial: blocks with holes would need another test."""
        everything = np.stack([self.x, *self.outcomes.values()])
        whole = [not np.isnan(everything[:, row]).any() for row in range(len(self.seeds))]
        return self.rows(tuple(seed for seed, keep in zip(self.seeds, whole, strict=True) if keep))

    def rows(self, seeds: tuple[int, ...]) -> CellTable:
        """Only these seeds, in this order."""
        index = [self.seeds.index(seed) for seed in seeds]
        return replace(
            self,
            seeds=seeds,
            x=self.x[index],
            outcomes={key: y[index] for key, y in self.outcomes.items()},
            trials=tuple(self.trials[i] for i in index) if self.trials else (),
        )

    def take(self, levels: tuple[int, ...]) -> CellTable:
        """Only these levels (positions), in this order: the first becomes the reference (with another one, no pool)."""
        names = tuple(self.levels[i] for i in levels)
        index = list(levels)
        return replace(
            self,
            levels=names,
            x=self.x[:, index],
            outcomes={key: y[:, index] for key, y in self.outcomes.items()},
            pool=self.pool if index[0] == 0 else "",
            trials=tuple(tuple(row[i] for i in index) for row in self.trials),
        )

    def by_predictor(self) -> CellTable:
        """Levels reordered by the mean of x over complete seeds: one axis of compressibility for many sources.

        Without a complete seed the order stays.
        """
        x = self.complete().x
        return self.take(tuple(int(i) for i in np.argsort(x.mean(0), kind="stable"))) if len(x) else self


def ratio_in_points(robust: Array, clean: Array) -> Array:
    """`100 robust / clean` per network, points: what of its clean accuracy survives the attack.

    Args:
        robust: (n, k) robust accuracies, any unit.
        clean: (n, k) clean accuracies of the same networks, the same unit; where it is 0 the ratio is NaN.
    """
    robust, clean = np.asarray(robust, dtype=np.float64), np.asarray(clean, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(clean > 0, 100.0 * robust / clean, np.nan)

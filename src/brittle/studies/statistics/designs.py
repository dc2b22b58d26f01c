"""The three questions a claim can ask of its cells: a trend over strengths, an association, paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import rankdata

from brittle.errors import UsageError
from brittle.studies.statistics.correlation import spearman_within
from brittle.studies.statistics.over_seeds import seed_test
from brittle.studies.statistics.signed import SignedP, intersection
from brittle.studies.statistics.table import Array, CellTable
from brittle.studies.statistics.trend import blocked, linear_weights, page
from brittle.studies.statistics.words import change


class Design(Protocol):
    """What is tested and how large it is."""

    def effects(self, table: CellTable, outcome: str) -> Array:
        """(n,) the effect in each seed, in the outcome's unit."""
        ...

    def reference(self, table: CellTable, outcome: str) -> float | None:
        """Where the outcome starts from (mean over seeds), None if the question has no such place."""
        ...

    def test(self, tables: Sequence[CellTable], outcome: str, seed: int, resamples: int) -> SignedP:
        """One test over all these cells, which have the same seeds."""
        ...

    def sentence(self, label: str, unit: str, value: float, interval: tuple[float, float]) -> str:
        """The effect for people."""
        ...


@dataclass(frozen=True)
class Trends:
    """Does the outcome rise or fall over the levels? Effect: last level minus first.

    The p value is the larger of two, which fail in different places: Page's test (exact for any distribution if the
    networks of a seed are exchangeable under the null; levels that share more with their neighbours than with others
    break it) and Student's t over seeds of the linear contrast (any correlation within a seed; needs near normality).
    Over several cells, networks that share a dense one are ranked together, so that it is counted once.
    """

    def effects(self, table: CellTable, outcome: str) -> Array:
        """(n,) last level minus first."""
        y = table.outcome(outcome)
        return y[:, -1] - y[:, 0]

    def reference(self, table: CellTable, outcome: str) -> float | None:
        """Mean of the first level."""
        return float(table.outcome(outcome)[:, 0].mean())

    def test(self, tables: Sequence[CellTable], outcome: str, seed: int, resamples: int) -> SignedP:
        """Page's test and the t over seeds, both needed.

        Raises:
            UsageError: no cells, cells with other seeds, or a pool whose cells do not share their first level.
        """
        _same_seeds(tables)
        columns = [table.outcome(outcome) for table in tables]
        line = sum((y @ linear_weights(y.shape[1]) for y in columns), np.zeros(len(columns[0])))
        if len(columns) == 1:
            return intersection([page(columns[0], seed, resamples), seed_test(line)])
        blocks, weights = _pooled(tables, columns)
        return intersection([blocked(blocks, weights, seed, resamples), seed_test(line)])

    def sentence(self, label: str, unit: str, value: float, interval: tuple[float, float]) -> str:
        """ "at the strongest setting 12.3 points of robust accuracy are lost [10.1, 14.4]"."""
        return f"at the strongest setting {change(label, unit, value, interval)}"


@dataclass(frozen=True)
class Associations(Trends):
    """Does the outcome rise or fall with the predictor? For tables ordered by it (`CellTable.by_predictor`).

    The test is that of `Trends` over that order; the effect is Spearman's rho within each seed.
    """

    def effects(self, table: CellTable, outcome: str) -> Array:
        """(n,) Spearman's rho of x and y over levels."""
        return spearman_within(table.x, table.outcome(outcome))

    def reference(self, table: CellTable, outcome: str) -> float | None:
        """None: a correlation has no starting point."""
        return None

    def sentence(self, label: str, unit: str, value: float, interval: tuple[float, float]) -> str:
        """ "the rank correlation of the gap and the predictor within a seed is 0.93 [0.90, 0.96]"."""
        low, high = max(-1.0, interval[0]), min(1.0, interval[1])
        return f"the rank correlation of {label} and the predictor within a seed is {value:.2f} [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True)
class Pairs:
    """Is the outcome, a difference of two networks of the same seed and strength, above or below 0?

    Outcomes of the table are the differences themselves. Effect: their mean over levels. The p value is the larger of
    two: random signs for every pair (exact if pairs are symmetric and independent under the null), and Student's t over
    seeds of the means over levels (any dependence within a seed).
    """

    def effects(self, table: CellTable, outcome: str) -> Array:
        """(n,) mean over levels."""
        return table.outcome(outcome).mean(1)

    def reference(self, table: CellTable, outcome: str) -> float | None:
        """None: differences start nowhere."""
        return None

    def test(self, tables: Sequence[CellTable], outcome: str, seed: int, resamples: int) -> SignedP:
        """Random signs of ranks (Wilcoxon's signed-rank statistic, drawn) and the t over seeds, both needed.

        Raises:
            UsageError: no cells, or cells with other seeds.
        """
        _same_seeds(tables)
        columns = [table.outcome(outcome) for table in tables]
        means = sum((y.mean(1) for y in columns), np.zeros(len(columns[0])))
        pairs = np.concatenate([y.ravel() for y in columns])
        return intersection([signed_rank(pairs, seed, resamples), seed_test(means)])

    def sentence(self, label: str, unit: str, value: float, interval: tuple[float, float]) -> str:
        """ "on average over settings 3.1 points of robust accuracy are gained [1.0, 5.2]"."""
        return f"on average over settings {change(label, unit, value, interval)}"


def signed_rank(differences: Array, seed: int, resamples: int = 9_999) -> SignedP:
    """Wilcoxon's signed-rank test by drawn signs, two-sided; zeros carry no rank (Wilcoxon 1945).

    Args:
        differences: (m,) m >= 1.
        seed: of the signs.
        resamples: how many; p = (1 + hits) / (1 + resamples).

    Raises:
        UsageError: another shape, no values, or NaN.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size == 0 or np.isnan(d).any():
        raise UsageError(f"expected at least one difference and no NaN, got shape {d.shape}")
    d = d[d != 0]
    if d.size == 0:
        return SignedP(1.0, 0.0)
    ranks = rankdata(np.abs(d))
    observed = float((ranks * np.sign(d)).sum())
    signs = np.random.default_rng(seed).integers(0, 2, size=(resamples, d.size), dtype=np.int8)
    drawn = signs @ (2 * ranks) - ranks.sum()
    hits = int((np.abs(drawn) >= abs(observed) - 1e-9).sum())
    return SignedP((1 + hits) / (1 + resamples), observed / float(np.sqrt((ranks**2).sum())))


def _pooled(tables: Sequence[CellTable], columns: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Blocks and weights with each shared dense network once, carrying the sum of its cells' weights."""
    pools: dict[str, list[int]] = {}
    for i, table in enumerate(tables):
        pools.setdefault(f"pool {table.pool}" if table.pool else f"cell {i}", []).append(i)
    blocks, weights = [], []
    for name, members in pools.items():
        first = columns[members[0]][:, :1]
        if any(not np.array_equal(columns[i][:, :1], first) for i in members):
            raise UsageError(
                f"{name}: expected cells that share their networks of level 0, got others: name other pools"
            )
        lines = [linear_weights(columns[i].shape[1]) for i in members]
        blocks.append(np.hstack([first, *(columns[i][:, 1:] for i in members)]))
        weights.append(np.concatenate([[sum(float(line[0]) for line in lines)], *(line[1:] for line in lines)]))
    return blocks, weights


def _same_seeds(tables: Sequence[CellTable]) -> None:
    if not tables or len({table.seeds for table in tables}) != 1:
        raise UsageError(f"expected cells with the same seeds, got {sorted({table.seeds for table in tables})}")

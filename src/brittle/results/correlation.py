"""Records about how well a bound orders a family of nets by their measured gap."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coefficient:
    """A correlation in [-1, 1] and its 95 % bootstrap interval over nets; None where one side is constant."""

    value: float | None
    interval95: tuple[float, float] | None


@dataclass(frozen=True)
class Correlation:
    """One rung and norm on one group of `n` nets: bound against measured gap F_adv - F."""

    group: str
    rung: str
    norm: str
    n: int
    pearson: Coefficient
    spearman: Coefficient

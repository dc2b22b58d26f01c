"""A claim's criterion, written before the run: which outcomes, which way, how much matters, what must be there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from brittle.errors import UsageError
from brittle.studies.statistics.designs import Design, Trends


@dataclass(frozen=True)
class Target:
    """One outcome that must change as claimed.

    Attributes:
        outcome: its key in `CellTable.outcomes`.
        label: its name in sentences, such as "robust accuracy at l_inf 0.05".
        direction: -1 the claim says it falls, +1 it rises.
        smallest: the smallest effect of interest, in `unit`.
        unit: "points" for accuracies and ratios (0 to 100); "rho" for `Associations`.
        limit: value that it cannot pass in the claimed direction (0 for an accuracy that falls); None: no such value.
            Where it starts within 2 `smallest` of the limit, nothing can be seen, and "no effect" is not concluded.
    """

    outcome: str
    label: str
    direction: Literal[-1, 1]
    smallest: float
    unit: str = "points"
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.direction not in (-1, 1) or not self.smallest > 0:
            raise UsageError(
                f"target {self.outcome!r}: expected direction -1 or +1 and a smallest effect above 0, "
                f"got {self.direction!r} and {self.smallest!r}"
            )

    def words(self) -> str:
        """ "robust accuracy at l_inf 0.05 falls by 2 points or more"."""
        return f"{self.label} {'falls' if self.direction < 0 else 'rises'} by {self.smallest:g} {self.unit} or more"


@dataclass(frozen=True)
class Criterion:
    """When a claim holds. `decide` applies it, and `words` says the same to people.

    Attributes:
        targets: all must change as claimed: for robustness, robust accuracy *and* the ratio robust / clean.
        design: the question asked of each cell.
        premise: cells in which the predictor did not rise (95 % interval of last level minus first) test nothing.
        least_seeds: complete seeds that a cell needs.
        least_levels: levels that a cell needs, the reference among them.
        prevalence: share of cells that must show the effect in every target (estimates, not tests).
    """

    targets: tuple[Target, ...]
    design: Design = field(default_factory=Trends)
    premise: bool = True
    least_seeds: int = 5
    least_levels: int = 5
    prevalence: float = 0.5

    def __post_init__(self) -> None:
        if not self.targets or self.least_seeds < 2 or self.least_levels < 1 or not 0 <= self.prevalence <= 1:
            raise UsageError(
                "a criterion needs at least one target, 2 seeds, 1 level and a prevalence in [0, 1], got "
                f"{len(self.targets)} targets, {self.least_seeds} seeds, {self.least_levels} levels, {self.prevalence}"
            )

    def words(self, alpha: float = 0.05) -> str:
        """The criterion as a paragraph, to be printed before the run and beside the verdict."""
        all_of = "; ".join(target.words() for target in self.targets)
        premise = " Cells whose predictor did not rise test nothing and are left out." if self.premise else ""
        return (
            f"Supported if over all cells: {all_of}; each 95 % interval excludes 0, p <= {alpha:g} after Holm's "
            f"correction over the claims, at least {100 * self.prevalence:.0f} % of the cells show it, and none shows "
            "the opposite. Contradicted if the same holds the other way round. Not supported if, for one of these "
            "outcomes, the 95 % interval lies within plus or minus that smallest effect, and no cell shows an effect. "
            f"Inconclusive otherwise. A cell needs {self.least_seeds} seeds and {self.least_levels} levels.{premise}"
        )

"""A claim as data, and the cells of trials that it is decided on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from brittle.studies.claims.setting import Setting
from brittle.studies.statistics.criterion import Criterion
from brittle.studies.trial import Threat, Trial


@dataclass(frozen=True)
class Quantity:
    """A number of a trial, as a cell's table has it.

    Attributes:
        name: in the table; cells of other radii and norms share it.
        measure: in `TrialRow.measures`.
        factor: to the unit of the table; 100 makes points of a fraction.
        threat: the ball it is measured in, where it is one of a ball.
    """

    name: str
    measure: str
    factor: float = 1.0
    threat: Threat | None = None


@dataclass(frozen=True)
class Level:
    """A column of a cell.

    Attributes:
        name: for people.
        trial: of any seed; each row puts its own in.
        minus: for outcomes that are differences: the trial whose outcome is subtracted.
    """

    name: str
    trial: Trial
    minus: Trial | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """One, or two where the outcome is a difference."""
        return (self.trial,) if self.minus is None else (self.trial, self.minus)


@dataclass(frozen=True)
class CellPlan:
    """One cell before any trial is run.

    Attributes:
        cell: its name for people.
        levels: the columns, the reference first.
        seeds: the rows.
        predictor: what x is.
        outcomes: what is looked at; the criterion's targets among them.
        scale: "held" or "free".
        pool: as in `CellTable.pool`.
        counts: whether the cell decides.
        ordered: levels are put in the order of the measured predictor, whatever made them.
    """

    cell: str
    levels: tuple[Level, ...]
    seeds: tuple[int, ...]
    predictor: Quantity
    outcomes: tuple[Quantity, ...]
    scale: str
    pool: str = ""
    counts: bool = True
    ordered: bool = False


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        id: "C1" to "C12".
        title: the claim itself, one sentence.
        question: what is asked of the networks.
        sources: what makes them compressible, in words.
        controls: cells that do not decide, in words, and what they are for.
        labels: predictors and outcomes by their names in tables, in words.
        criterion: written before the run.
        would_change: what another answer would need.
        cells: gives its cells in the settings of a preset; none where a setting has nothing for it.
    """

    id: str
    title: str
    question: str
    sources: tuple[str, ...]
    controls: tuple[str, ...]
    labels: dict[str, str]
    criterion: Criterion
    would_change: str
    cells: Callable[[Sequence[Setting]], tuple[CellPlan, ...]]

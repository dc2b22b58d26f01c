"""The cells of a claim as drawn: each with one colour and one sign, its means over seeds with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brittle.report.study_words import cell_name
from brittle.report.training_lines import LOOKS, NEUTRAL
from brittle.results.study import CellVerdict, ClaimVerdict
from brittle.studies.statistics.over_seeds import mean_interval

# Controls are grey and hollow; their shapes tell them apart.
_CONTROLS = (
    ("circle", "○"),
    ("square", "□"),
    ("diamond", "◇"),
    ("triangle-up", "△"),
    ("triangle-down", "▽"),
    ("hexagon", "⬡"),
    ("star", "☆"),
)


@dataclass(frozen=True)
class DrawnCell:
    """A cell with its look; `key` names it inside its claim, such as "2"."""

    key: str
    name: str
    cell: CellVerdict
    colour: str
    symbol: str
    sign: str

    @property
    def control(self) -> bool:
        """Whether it does not decide about the claim."""
        return not self.cell.counts


@dataclass(frozen=True)
class LevelMean:
    """A level of a cell: means over the seeds that are there, and the interval of y (None with one seed)."""

    level: int
    name: str
    x: float
    y: float
    interval: tuple[float, float] | None
    seeds: int


def drawn_cells(claim: ClaimVerdict) -> tuple[DrawnCell, ...]:
    """The cells in their order; those that decide get the colours, controls are grey."""
    drawn = []
    coloured = grey = 0
    for i, cell in enumerate(claim.cells):
        if cell.counts:
            colour, symbol, sign, _ = LOOKS[coloured % len(LOOKS)]
            coloured += 1
        else:
            colour, (symbol, sign) = NEUTRAL[0], _CONTROLS[grey % len(_CONTROLS)]
            grey += 1
        drawn.append(DrawnCell(str(i), cell_name(cell), cell, colour, symbol, sign))
    return tuple(drawn)


def outcomes_of(claim: ClaimVerdict) -> tuple[str, ...]:
    """The outcomes that are drawn: those that the criterion names first, then whatever else the cells hold."""
    tested = [trend.outcome for cell in claim.cells for trend in cell.trends]
    held = [name for cell in claim.cells for name in cell.data.outcomes]
    return tuple(dict.fromkeys([*tested, *held]))


def is_association(claim: ClaimVerdict) -> bool:
    """Whether the claim asks for a rank correlation: its levels have no order but that of the predictor.

    Where nothing could be tested yet, the criterion's words tell.
    """
    units = {trend.effect.unit for cell in claim.cells for trend in cell.trends}
    return "rho" in units or (not units and " rho or more" in claim.criterion)


def level_means(cell: CellVerdict, outcome: str) -> tuple[LevelMean, ...]:
    """Mean over seeds at each level that has any; intervals are Student's, 95 %."""
    values = cell.data.outcomes.get(outcome)
    if values is None:
        return ()
    means = []
    for j, name in enumerate(cell.data.levels):
        pairs = [(x[j], y[j]) for x, y in zip(cell.data.x, values, strict=True)]
        ys = [y for _, y in pairs if y is not None]
        xs = [x for x, y in pairs if x is not None and y is not None]
        if ys and xs:
            interval = mean_interval(np.array(ys)) if len(ys) > 1 else None
            means.append(LevelMean(j, name, float(np.mean(xs)), float(np.mean(ys)), interval, len(ys)))
    return tuple(means)


def keys_of(cells: Sequence[CellVerdict]) -> tuple[str, ...]:
    """The keys of all trials behind the cells' points, each once."""
    return tuple(dict.fromkeys(key for cell in cells for row in cell.data.trials for keys in row for key in keys))

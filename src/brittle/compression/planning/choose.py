"""One option from each ladder, of least total loss within a budget: a multiple-choice knapsack.

Legend: g ladders, m options in the longest, c cells of the budget's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brittle.errors import UsageError

CELLS = 4096


@dataclass(frozen=True)
class Option:
    """One way to treat a part of a network: what it costs (parameters, say) and what loss it adds."""

    cost: int
    loss: float


@dataclass(frozen=True)
class Choice:
    """The options picked, one position for each ladder, and how good they are.

    `bound` is a lower bound on the loss of every choice within the budget, so `gap` says how much a better one could
    gain at most. It is 0 where the grid has a cell for each unit of cost.
    """

    picks: tuple[int, ...]
    cost: int
    loss: float
    bound: float

    @property
    def gap(self) -> float:
        """`loss - bound`, >= 0."""
        return max(0.0, self.loss - self.bound)


def choose(ladders: Sequence[Sequence[Option]], budget: int, cells: int = CELLS) -> Choice:
    """The choice of least summed loss whose summed cost is at most `budget`, by dynamic programming.

    Costs above each ladder's cheapest option are counted in cells of `(budget - cheapest) / cells`: rounded up for the
    answer, which therefore meets the budget, and rounded down for the bound, which lets every real choice through.
    Takes about g m c additions. Source: Kellerer, Pferschy, Pisinger, Knapsack Problems (2004), section 11.5.

    Args:
        ladders: the options of each part, at least one each; losses may be negative (a change that helps).
        budget: the most that the picked costs may sum to.
        cells: how fine the grid of the budget is.

    Raises:
        UsageError: an empty ladder, a loss or cost that is no finite number, cells < 1, or a budget that the cheapest
            options exceed.
    """
    _check(ladders, cells)
    cheapest = [min(option.cost for option in ladder) for ladder in ladders]
    spare = budget - sum(cheapest)
    if spare < 0:
        raise UsageError(f"a budget of {budget} is below the {sum(cheapest)} of the cheapest options: allow more")
    width = max(1, -(-spare // cells))
    extra = [[option.cost - least for option in ladder] for ladder, least in zip(ladders, cheapest, strict=True)]
    losses = [np.array([option.loss for option in ladder]) for ladder in ladders]
    up = _table([[-(-cost // width) for cost in row] for row in extra], losses, spare // width)
    down = _table([[cost // width for cost in row] for row in extra], losses, spare // width)
    picks = _trace(up, [[-(-cost // width) for cost in row] for row in extra])
    cost = sum(ladder[pick].cost for ladder, pick in zip(ladders, picks, strict=True))
    loss = float(sum(ladder[pick].loss for ladder, pick in zip(ladders, picks, strict=True)))
    return Choice(tuple(picks), cost, loss, min(loss, float(down.best)))


@dataclass(frozen=True, eq=False)
class _Table:
    """`picked[g, s]`: the option of ladder g in the best choice of the first g + 1 ladders within s cells."""

    picked: NDArray[np.int32]
    best: float


def _table(cells: Sequence[Sequence[int]], losses: Sequence[NDArray[np.float64]], most: int) -> _Table:
    value = np.zeros(most + 1)
    picked = np.zeros((len(cells), most + 1), dtype=np.int32)
    for number, (row, loss) in enumerate(zip(cells, losses, strict=True)):
        reached = np.full((len(row), most + 1), np.inf)
        for option, taken in enumerate(row):
            if taken <= most:
                reached[option, taken:] = value[: most + 1 - taken] + loss[option]
        picked[number] = reached.argmin(0)
        value = reached.min(0)
    return _Table(picked, float(value[most]))


def _trace(table: _Table, cells: Sequence[Sequence[int]]) -> list[int]:
    left, picks = table.picked.shape[1] - 1, []
    for number in range(len(cells) - 1, -1, -1):
        pick = int(table.picked[number, left])
        picks.append(pick)
        left -= cells[number][pick]
    return picks[::-1]


def _check(ladders: Sequence[Sequence[Option]], cells: int) -> None:
    if cells < 1:
        raise UsageError(f"the budget's grid needs at least 1 cell, got {cells}")
    for number, ladder in enumerate(ladders):
        if not ladder:
            raise UsageError(f"ladder {number} has no options: leave the part out or give it one")
        for option in ladder:
            if not np.isfinite(option.loss) or option.cost != int(option.cost):
                raise UsageError(f"ladder {number} has an option {option}: expected a whole cost and a finite loss")

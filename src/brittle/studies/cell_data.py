"""What a cell's figure is drawn from, as a record."""

from __future__ import annotations

import numpy as np

from brittle.results.study import CellData
from brittle.studies.statistics.table import Array, CellTable


def cell_data(table: CellTable) -> CellData:
    """All seeds and outcomes as they are, those of incomplete seeds too; None where a number is missing."""
    return CellData(
        levels=table.levels,
        seeds=table.seeds,
        predictor=table.predictor,
        x=_rows(table.x),
        outcomes={name: _rows(y) for name, y in table.outcomes.items()},
        trials=table.trials or tuple(tuple(() for _ in table.levels) for _ in table.seeds),
    )


def _rows(values: Array) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in values)

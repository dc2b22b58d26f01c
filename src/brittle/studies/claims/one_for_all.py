"""C9: perturbations that fool many inputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from brittle.studies.claims.cell import SCALES, ladder_cell
from brittle.studies.claims.claim import CellPlan, Claim
from brittle.studies.claims.ladders import (
    Ladder,
    group_lasso,
    low_rank,
    nuclear,
    planted_rows,
    planted_spectrum,
    scaled,
)
from brittle.studies.claims.quantities import COMPRESSIBILITY, Structure, at
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import HELD_DECIDES, LABELS, PLANTED, SCALE_CONTROL
from brittle.studies.statistics.criterion import Criterion, Target

_SOURCES: Final[tuple[tuple[Structure, str, Ladder], ...]] = (
    ("neuron", "group lasso", group_lasso),
    ("spectral", "low rank", low_rank),
    ("spectral", "nuclear norm", nuclear),
)
_PLANTS: Final[tuple[tuple[Structure, str, Ladder], ...]] = (
    ("neuron", "planted rows", planted_rows),
    ("spectral", "planted spectrum", planted_spectrum),
)


def _cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    for setting in settings:
        y = (
            at(setting.wide, "universal_lift", "lift", 100.0),
            at(setting.wide, "universal", "universal", 100.0),
            at(setting.wide, "universal_random", "random", 100.0),
        )
        for structure, name, ladder in _SOURCES:
            for hold, _ in SCALES:
                x = COMPRESSIBILITY[structure]
                cells += ladder_cell(setting, name, ladder, x, y, hold_scale=hold, counts=hold)
        for structure, name, ladder in _PLANTS:
            cells += ladder_cell(setting, name, ladder, COMPRESSIBILITY[structure], y, hold_scale=False, counts=False)
        x = COMPRESSIBILITY["spectral"]
        cells += ladder_cell(setting, "scale alone", scaled, x, y, hold_scale=False, counts=False)
    return tuple(cells)


UNIVERSAL: Final = Claim(
    id="C9",
    title="Universal perturbations emerge with compressibility, not with scale",
    question="Does one l_inf perturbation, fitted on training samples, change more test predictions than random signs "
    "of the same size, and more so in compressible networks of the same Frobenius norms?",
    sources=("group lasso, low rank and nuclear norm, scale held",),
    controls=("the same with the scale free", SCALE_CONTROL, PLANTED["rows"], PLANTED["spectrum"]),
    labels={
        "neuron": LABELS["neuron"],
        "spectral": LABELS["spectral"],
        "lift": "fooling rate of the universal perturbation beyond random signs (points)",
        "universal": "fooling rate of the universal perturbation (%)",
        "random": "fooling rate of random signs (%)",
    },
    criterion=Criterion((Target("lift", "fooling rate beyond random signs", 1, 5.0, limit=100.0),)),
    would_change=f"{HELD_DECIDES} If networks of larger scale alone were as easily fooled, scale would explain it.",
    cells=_cells,
)

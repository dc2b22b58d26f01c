"""C1 and C2: what neuron and spectral compressibility do to robustness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from brittle.studies.claims.cell import SCALES, cell_of, ladder_cell
from brittle.studies.claims.claim import CellPlan, Claim
from brittle.studies.claims.ladders import group_lasso, low_rank, nuclear, planted_rows, planted_spectrum, scaled
from brittle.studies.claims.quantities import COMPRESSIBILITY, at, both
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import HELD_DECIDES, LABELS, PLANTED, SCALE_CONTROL, held_targets
from brittle.studies.statistics.criterion import Criterion


def _neuron_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    x = COMPRESSIBILITY["neuron"]
    for setting in settings:
        y = both(setting.linf)
        for hold, _ in SCALES:
            cells += ladder_cell(setting, "group lasso", group_lasso, x, y, hold_scale=hold, counts=hold)
        cells += ladder_cell(setting, "planted rows", planted_rows, x, y, hold_scale=False, counts=False)
        cells += ladder_cell(setting, "scale alone", scaled, x, y, hold_scale=False, counts=False)
    return tuple(cells)


def _spectral_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    x = COMPRESSIBILITY["spectral"]
    for setting in settings:
        y = (*both(setting.l2, "_l2"), *both(setting.linf, "_linf"))
        for hold, _ in SCALES:
            cells += ladder_cell(setting, "low rank", low_rank, x, y, hold_scale=hold, counts=hold)
            cells += ladder_cell(setting, "nuclear norm", nuclear, x, y, hold_scale=hold, counts=hold)
        levels = low_rank(setting.known, setting.dense(hold_scale=True))
        best = (at(setting.l2, "known", "known_l2", 100.0), at(setting.linf, "known", "known_linf", 100.0))
        cells += cell_of(setting, f"low rank, {setting.name}", levels, x, (*y, *best), counts=False)
        cells += ladder_cell(setting, "planted spectrum", planted_spectrum, x, y, hold_scale=False, counts=False)
        cells += ladder_cell(setting, "scale alone", scaled, x, y, hold_scale=False, counts=False)
    return tuple(cells)


NEURON: Final = Claim(
    id="C1",
    title="Neuron compressibility lowers robustness in l_inf",
    question="Do networks whose row norms concentrate in few neurons lose robust accuracy in l_inf, clean accuracy "
    "taken into account?",
    sources=("group lasso on hidden layers, scale held",),
    controls=("group lasso, scale free: the norm shrinks with the penalty", PLANTED["rows"], SCALE_CONTROL),
    labels={name: LABELS[name] for name in ("neuron", "robust", "ratio")},
    criterion=Criterion(held_targets(("robust", "ratio"))),
    would_change=f"{HELD_DECIDES} Another penalty that concentrates rows more before clean accuracy falls, or larger "
    "networks with more neurons to spare, could show what these do not.",
    cells=_neuron_cells,
)

SPECTRAL: Final = Claim(
    id="C2",
    title="Spectral compressibility lowers robustness in l_2 and l_inf",
    question="Do networks whose singular values concentrate in few directions lose robust accuracy in both norms, "
    "clean accuracy taken into account?",
    sources=("hidden layers of low rank from the start, scale held", "nuclear norm on hidden layers, scale held"),
    controls=(
        "both with the scale free: the nuclear norm shrinks it",
        PLANTED["spectrum"],
        SCALE_CONTROL,
        "low rank on two made tasks whose most accurate network is known and itself of rank one or two",
    ),
    labels={
        **{name: LABELS[name] for name in ("spectral", "robust_l2", "ratio_l2", "robust_linf", "ratio_linf")},
        "known_l2": "robust accuracy of the most accurate network in l_2, by its formula",
        "known_linf": "robust accuracy of the most accurate network in l_inf, by its formula",
    },
    criterion=Criterion(held_targets(("robust_l2", "ratio_l2", "robust_linf", "ratio_linf"))),
    would_change=f"{HELD_DECIDES} On the made tasks low rank need not cost anything, because the task itself needs no "
    "more: real data of that kind would speak against it, as would a source that concentrates the spectrum "
    "at the same scale and keeps the ratio of robust to clean accuracy.",
    cells=_spectral_cells,
)

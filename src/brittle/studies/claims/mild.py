"""C12: the turning point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from brittle.studies.claims.cell import SCALES, ladder_cell
from brittle.studies.claims.claim import CellPlan, Claim, Quantity
from brittle.studies.claims.ladders import Ladder, group_lasso, nuclear
from brittle.studies.claims.quantities import COMPRESSIBILITY, Structure, both
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import LABELS, SMALLEST
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.peak import Peaks

_SOURCES: Final[tuple[tuple[Structure, str, Ladder], ...]] = (
    ("neuron", "group lasso", group_lasso),
    ("spectral", "nuclear norm", nuclear),
)
# A tenth of a nat is a bound 10 % smaller.
_SMALLER: Final = 0.1


def _cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    for setting in (one for one in settings if one.bounded):
        for hold, _ in SCALES:
            for structure, name, ladder in _SOURCES:
                x, y = COMPRESSIBILITY[structure], _outcomes(setting, structure)
                cells += ladder_cell(setting, name, ladder, x, y, hold_scale=hold, counts=not hold)
    return tuple(cells)


def _outcomes(setting: Setting, structure: Structure) -> tuple[Quantity, ...]:
    norm, threat = ("linf", setting.linf) if structure == "neuron" else ("l2", setting.l2)
    parts = [Quantity(part, f"bound.{norm}.log_{part}") for part in ("structure", "scale", "alignment")]
    return (*both(threat), Quantity("bound", f"bound.{norm}.log_lhat"), *parts)


MILD: Final = Claim(
    id="C12",
    title="Mild compression can help, and structure x scale explains it",
    question="Is there a strength, chosen on other seeds, at which a penalised network is more robust than the dense "
    "one, and is the bound (structure x scale x alignment) lower there?",
    sources=("group lasso (l_inf) and nuclear norm (l_2), scale free",),
    controls=("the same penalties with the scale held: what is left of the gain is not the scale's",),
    labels={
        "neuron": LABELS["neuron"],
        "spectral": LABELS["spectral"],
        "robust": LABELS["robust"],
        "ratio": LABELS["ratio"],
        "bound": "log of the Lipschitz bound (nats)",
        "structure": "structure: its part of the log bound (nats)",
        "scale": "scale: its part of the log bound (nats)",
        "alignment": "alignment between layers: its part of the log bound (nats)",
    },
    criterion=Criterion(
        (
            Target("robust", LABELS["robust"], 1, SMALLEST),
            Target("ratio", LABELS["ratio"], 1, SMALLEST),
            Target("bound", "the log of the bound", -1, _SMALLER, "nats"),
        ),
        design=Peaks(guide="robust"),
        premise=False,
    ),
    would_change="Cells with the scale free decide, because the gain is said to come from the scale. A gain that "
    "stays with the scale held, or one without a lower bound, would need another explanation.",
    cells=_cells,
)

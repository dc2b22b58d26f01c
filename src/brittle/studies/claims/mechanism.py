"""C3 and C4: where attacks point as compressibility grows, and how much they grow inside the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from brittle.studies.claims.cell import SCALES, ladder_cell
from brittle.studies.claims.claim import CellPlan, Claim, Quantity
from brittle.studies.claims.ladders import Ladder, group_lasso, low_rank, nuclear, planted_rows, planted_spectrum
from brittle.studies.claims.quantities import COMPRESSIBILITY, Structure, at
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import HELD_DECIDES, LABELS, PLANTED
from brittle.studies.statistics.criterion import Criterion, Target

# What is looked at in l_inf for the rows, in l_2 for the spectrum.
_SOURCES: Final[tuple[tuple[Structure, str, Ladder], ...]] = (
    ("neuron", "group lasso", group_lasso),
    ("spectral", "low rank", low_rank),
    ("spectral", "nuclear norm", nuclear),
)
_PLANTS: Final[tuple[tuple[Structure, str, Ladder], ...]] = (
    ("neuron", "planted rows", planted_rows),
    ("spectral", "planted spectrum", planted_spectrum),
)


def _outcomes(setting: Setting, structure: Structure, kinds: dict[str, str]) -> tuple[Quantity, ...]:
    threat = setting.linf if structure == "neuron" else setting.l2
    return tuple(at(threat, kind, name, 100.0) for name, kind in kinds.items())


def _cells(settings: Sequence[Setting], kinds: dict[str, str], control: dict[str, str]) -> tuple[CellPlan, ...]:
    """Cells of all sources; and those with the control's numbers in place of the claim's, where there is one."""
    cells: list[CellPlan] = []
    for setting in settings:
        for structure, name, ladder in _SOURCES:
            x, y = COMPRESSIBILITY[structure], _outcomes(setting, structure, kinds)
            for hold, _ in SCALES:
                cells += ladder_cell(setting, name, ladder, x, y, hold_scale=hold, counts=hold)
            if control:
                other = _outcomes(setting, structure, control)
                cells += ladder_cell(setting, f"random noise, {name}", ladder, x, other, hold_scale=True, counts=False)
        for structure, name, ladder in _PLANTS:
            x, y = COMPRESSIBILITY[structure], _outcomes(setting, structure, kinds)
            cells += ladder_cell(setting, name, ladder, x, y, hold_scale=False, counts=False)
    return tuple(cells)


def _alignment_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    return _cells(settings, {"alignment": "alignment"}, {})


def _amplification_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    return _cells(settings, {"amplification": "amplification"}, {"amplification": "amplification_noise"})


_SOURCES_SAID: Final = (
    "group lasso (attacks in l_inf), scale held",
    "low rank and nuclear norm (attacks in l_2), scale held",
)

ALIGNMENT: Final = Claim(
    id="C3",
    title="Attacks align with dominant directions as compressibility grows",
    question="Does a larger share of an attack's energy lie in the network's four leading directions, fitted on "
    "training samples?",
    sources=_SOURCES_SAID,
    controls=("the same with the scale free", PLANTED["rows"], PLANTED["spectrum"]),
    labels={
        "neuron": LABELS["neuron"],
        "spectral": LABELS["spectral"],
        "alignment": "an attack's energy in the four leading directions (% of it)",
    },
    criterion=Criterion((Target("alignment", "the attacks' energy in leading directions", 1, 5.0, limit=100.0),)),
    would_change=f"{HELD_DECIDES} Random directions hold 4 / pixels of any attack, so all of these networks are "
    "aligned; the question is whether compressible ones are more so. With another number of "
    "directions the answer may differ.",
    cells=_alignment_cells,
)

AMPLIFICATION: Final = Claim(
    id="C4",
    title="Representation amplification grows with compressibility",
    question="Do attacks move the input of the head further, relative to its length?",
    sources=_SOURCES_SAID,
    controls=(
        "the same with the scale free",
        "random noise of each attack's length in place of the attack",
        PLANTED["rows"],
        PLANTED["spectrum"],
    ),
    labels={
        "neuron": LABELS["neuron"],
        "spectral": LABELS["spectral"],
        "amplification": "relative change of the representation under attack (%)",
    },
    criterion=Criterion((Target("amplification", "the relative change of the representation", 1, 2.0, "%"),)),
    would_change=f"{HELD_DECIDES} If random noise of the same length were amplified as much, larger norms would be all "
    "there is to it.",
    cells=_amplification_cells,
)

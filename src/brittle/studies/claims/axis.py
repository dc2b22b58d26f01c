"""C5 and C6: one axis for all networks: the paper's bound, and measured compressibility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from brittle.studies.claims.cell import SCALES, cell_of
from brittle.studies.claims.claim import CellPlan, Claim, Quantity
from brittle.studies.claims.everything import every_level
from brittle.studies.claims.quantities import COMPRESSIBILITY, Structure, at, both
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import LABELS
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.designs import Associations

# The correlation of bound and gap that the paper reports.
PAPERS_RHO: Final = 0.947
# Parts of the bound that stand beside it: name in tables and after "bound.NORM.log_".
_PARTS: Final = ("theorem", "structure", "scale", "alignment")
_SIZE: Final = 0.5


def _bound_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    for setting in (one for one in settings if one.bounded):
        for hold, _ in SCALES:
            levels = every_level(setting, hold_scale=hold)
            for norm, threat in (("linf", setting.linf), ("l2", setting.l2)):
                y = (at(threat, "log_gap", "log_gap"),)
                for part in ("slope", *_PARTS):
                    x = Quantity(part, f"bound.{norm}.log_{part}")
                    name = "" if part == "slope" else f"{part} alone, " if part != "theorem" else "by Theorem 3.1, "
                    cells += cell_of(
                        setting, f"{name}{norm}, {setting.name}", levels, x, y, counts=part == "slope", ordered=True
                    )
    return tuple(cells)


def _source_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    kinds: tuple[tuple[Structure, Literal["linf", "l2"]], ...] = (("neuron", "linf"), ("spectral", "l2"))
    for setting in settings:
        for hold, _ in SCALES:
            levels = every_level(setting, hold_scale=hold)
            for structure, norm in kinds:
                threat = setting.linf if norm == "linf" else setting.l2
                name = f"{structure}, {norm}, {setting.name}"
                x = COMPRESSIBILITY[structure]
                cells += cell_of(setting, name, levels, x, both(threat), counts=hold, ordered=True)
    return tuple(cells)


BOUND: Final = Claim(
    id="C5",
    title="The bound tracks the measured gap",
    question="Do networks with a larger bound on the robustness gap (Corollary 3.3) have a larger measured gap?",
    sources=("all networks: penalties, low rank, width, learning dynamics, compression afterwards; both scales",),
    controls=(
        "the bound with Theorem 3.1 in place of exact norms",
        "structure alone, scale alone and alignment alone, the three parts of the logarithm of the bound",
    ),
    labels={
        "slope": "log of the bound of Corollary 3.3 per unit of radius (nats)",
        "theorem": "log of the Lipschitz bound with Theorem 3.1 (nats)",
        "structure": "structure: its part of the log bound (nats)",
        "scale": "scale: its part of the log bound (nats)",
        "alignment": "alignment between layers: its part of the log bound (nats)",
        "log_gap": "log of the measured gap (adversarial minus clean cross-entropy)",
    },
    criterion=Criterion(
        (Target("log_gap", "the measured gap", 1, _SIZE, "rho"),), design=Associations(), least_levels=6
    ),
    would_change=f"The paper reports a correlation of {PAPERS_RHO} for its bound on its networks. Networks that differ "
    "less in their bound than these, or a bound that is no longer a product of layers, may order otherwise.",
    cells=_bound_cells,
)

ANY_SOURCE: Final = Claim(
    id="C6",
    title="Compressibility lowers robustness whatever its source",
    question="With networks of all sources on one axis of measured compressibility, does robustness fall along it?",
    sources=(
        "regularisation: group lasso, nuclear norm",
        "architecture: low rank, narrow layers",
        "learning dynamics: learning rate, weight decay",
        "compression afterwards: pruned neurons, truncated singular values; fine-tuned",
    ),
    controls=("the same networks with the scale free",),
    labels={name: LABELS[name] for name in ("neuron", "spectral", "robust", "ratio")},
    criterion=Criterion(
        tuple(Target(name, LABELS[name], -1, _SIZE, "rho", limit=None) for name in ("robust", "ratio")),
        design=Associations(),
        least_levels=6,
    ),
    would_change="Cells with the scale held decide. One source whose networks leave the common line lowers the rank "
    "correlation: compressibility alone would then not be what counts.",
    cells=_source_cells,
)

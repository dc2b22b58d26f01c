"""C7 and C8: whether the effect survives adversarial training, and transfer to another task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from brittle.studies.claims.cell import cell_of
from brittle.studies.claims.claim import CellPlan, Claim, Quantity
from brittle.studies.claims.ladders import Ladder, group_lasso, low_rank
from brittle.studies.claims.quantities import COMPRESSIBILITY, Structure, both
from brittle.studies.claims.setting import Setting
from brittle.studies.claims.words import LABELS, held_targets
from brittle.studies.statistics.criterion import Criterion
from brittle.studies.trial import Threat

_SOURCES: Final[tuple[tuple[Structure, str, Ladder], ...]] = (
    ("neuron", "group lasso", group_lasso),
    ("spectral", "low rank", low_rank),
)


def _adversarial_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    for setting in settings:
        if setting.adversarial is None:
            continue
        base = setting.dense(hold_scale=True).model_copy(update={"training": setting.adversarial.training})
        for structure, name, ladder in _SOURCES:
            levels = ladder(setting.adversarial.held, base)
            # The ball that the networks were trained against.
            cells += cell_of(setting, f"{name}, {setting.name}", levels, COMPRESSIBILITY[structure], both(setting.linf))
    return tuple(cells)


def _transfer_cells(settings: Sequence[Setting]) -> tuple[CellPlan, ...]:
    cells: list[CellPlan] = []
    for setting in settings:
        tasks = setting.transfer
        if tasks is None:
            continue
        base = setting.dense(hold_scale=True).model_copy(update={"data": tasks.source, "transfer": tasks.target})
        for structure, name, ladder in _SOURCES:
            threat = tasks.linf if structure == "neuron" else tasks.l2
            levels, x = ladder(tasks.held, base), COMPRESSIBILITY[structure]
            cells += cell_of(setting, f"{name}, {setting.name}", levels, x, _carried(threat))
    return tuple(cells)


def _carried(threat: Threat) -> tuple[Quantity, Quantity]:
    """On the target task."""
    return (
        Quantity("robust", f"transfer.robust.{threat.key}", 100.0, threat),
        Quantity("ratio", f"transfer.ratio.{threat.key}", 100.0, threat),
    )


_LABELS: Final = {name: LABELS[name] for name in ("neuron", "spectral", "robust", "ratio")}

ADVERSARIAL: Final = Claim(
    id="C7",
    title="The effect persists under adversarial training",
    question="Of networks trained adversarially (PGD, every sample attacked), do compressible ones lose robust "
    "accuracy in the ball they were trained against, clean accuracy taken into account?",
    sources=("group lasso, scale held", "low rank, scale held"),
    controls=("the same sources without adversarial training are in C1 and C2",),
    labels=_LABELS,
    criterion=Criterion(held_targets(("robust", "ratio"))),
    would_change="The scale is held in all cells. Longer training or a larger radius could give compressible networks "
    "the robustness that they do not reach here, or cost them more of it.",
    cells=_adversarial_cells,
)

TRANSFER: Final = Claim(
    id="C8",
    title="The effect persists through transfer",
    question="Are encoders that were made compressible on one task less robust on another one, with a new linear head "
    "fitted there?",
    sources=("group lasso (l_inf), scale held", "low rank (l_2), scale held"),
    controls=("the same sources on their own task are in C1 and C2",),
    labels={
        **_LABELS,
        "robust": "robust accuracy on the target task",
        "ratio": "the ratio robust / clean on the target task",
    },
    criterion=Criterion(held_targets(("robust", "ratio"))),
    would_change="The scale is held in all cells and only the head is fitted. Fine-tuning the whole network on the "
    "target task could undo what its source task left.",
    cells=_transfer_cells,
)

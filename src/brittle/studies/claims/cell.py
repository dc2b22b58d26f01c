"""Cells of claims: a ladder in a setting, with the scale held or free."""

from __future__ import annotations

from collections.abc import Sequence

from brittle.studies.claims.claim import CellPlan, Level, Quantity
from brittle.studies.claims.ladders import Ladder
from brittle.studies.claims.setting import Setting

SCALES = ((True, "held"), (False, "free"))


def ladder_cell(
    setting: Setting,
    source: str,
    ladder: Ladder,
    predictor: Quantity,
    outcomes: Sequence[Quantity],
    *,
    hold_scale: bool,
    counts: bool,
) -> tuple[CellPlan, ...]:
    """One cell of a source that leaves the setting's own trial as it is; none where the setting leaves it out.

    Cells that start from the same dense networks share a pool.
    """
    levels = ladder(setting.strengths(hold_scale=hold_scale), setting.dense(hold_scale=hold_scale))
    return cell_of(setting, f"{source}, {setting.name}", levels, predictor, outcomes, counts=counts)


def cell_of(
    setting: Setting,
    name: str,
    levels: Sequence[Level],
    predictor: Quantity,
    outcomes: Sequence[Quantity],
    *,
    counts: bool = True,
    ordered: bool = False,
) -> tuple[CellPlan, ...]:
    """One cell of these levels; none where there are fewer than two."""
    if len(levels) < 2:
        return ()
    first = levels[0].trial
    scale = "held" if first.hold_scale or first.source.kind == "spectrum" else "free"
    # Outcomes of other names or radii would not be the same column.
    shared = first.source.kind == "dense" and levels[0].minus is None and not ordered
    measured = "+".join(sorted(one.measure for one in outcomes))
    pool = f"{first.model_dump_json()} {measured}" if shared else ""
    return (CellPlan(name, tuple(levels), setting.seeds, predictor, tuple(outcomes), scale, pool, counts, ordered),)

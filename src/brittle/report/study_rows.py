"""The tables of a study's page: claims on top, cells of a claim, what was run, and what stands behind each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from brittle.report import format as fmt
from brittle.report.figure import rounded
from brittle.report.rule import Word
from brittle.report.study_cells import DrawnCell, drawn_cells, keys_of, outcomes_of
from brittle.report.study_svg import span, strip
from brittle.report.study_words import (
    VERDICTS,
    cell_name,
    cell_word,
    effect_text,
    effects_of,
    interval_text,
    label,
    p_text,
    seen_in,
    signs,
    with_unit,
)
from brittle.results.study import CellVerdict, ClaimVerdict, StudyResult, Trend

# Hexadecimal digits of a key that pages show: enough to tell millions of trials apart; the CSV has all 64.
SHORT_KEY = 12
_STRIP, _WIDE_STRIP = 120.0, 150.0
# The strip of the overview shows no more cells than this.
_MOST_DOTS = 5


@dataclass(frozen=True)
class ClaimRow:
    """A claim in the overview."""

    claim: str
    title: str
    word: Word
    effect: str
    strip: Markup
    p: str
    seen: str


@dataclass(frozen=True)
class CellRow:
    """A cell in its claim's table: for each outcome its effect and the strip of its interval."""

    drawn: DrawnCell
    effects: tuple[tuple[str, Markup], ...]
    p: str
    rho: str
    word: Word
    note: str


def claim_rows(result: StudyResult) -> list[ClaimRow]:
    """The overview: one row for each claim, in their order."""
    rows = []
    for claim in result.claims:
        effects = effects_of(claim)
        effect = effects[0] if effects else signs(claim.words.partition(": ")[2].partition(". ")[0]).rstrip(".")
        rows.append(
            ClaimRow(
                claim=claim.claim,
                title=claim.title,
                word=VERDICTS[claim.outcome],
                effect=effect[:1].upper() + effect[1:],
                strip=_overview_strip(claim),
                p=p_text(claim.p_holm, tested=bool(effects)),
                seen=seen_in(claim),
            )
        )
    return rows


def cell_columns(claim: ClaimVerdict) -> list[tuple[str, str]]:
    """(outcome, heading) of the columns of effects: the outcomes that were tested anywhere in the claim."""
    tested = dict.fromkeys(trend.outcome for cell in claim.cells for trend in cell.trends)
    headings = []
    for outcome in tested:
        units = [t.effect.unit for cell in claim.cells for t in cell.trends if t.outcome == outcome]
        headings.append((outcome, with_unit(label(claim, outcome), units)))
    return headings


def cell_rows(claim: ClaimVerdict) -> list[CellRow]:
    """One row for each cell, those that decide first."""
    columns = [outcome for outcome, _ in cell_columns(claim)]
    spans = {outcome: span(_ends(claim.cells, outcome)) for outcome in columns}
    rows = []
    for drawn in sorted(drawn_cells(claim), key=lambda one: one.control):
        trends = {trend.outcome: trend for trend in drawn.cell.trends}
        effects = []
        for outcome in columns:
            trend = trends.get(outcome)
            if trend is None:
                effects.append((fmt.MISSING, Markup("")))
            else:
                items = [(trend.effect.value, trend.effect.interval95, drawn.colour, effect_text(trend))]
                effects.append((effect_text(trend), Markup(strip(items, *spans[outcome], _STRIP))))
        first = next(iter(trends.values()), None)
        rows.append(
            CellRow(
                drawn,
                tuple(effects),
                fmt.MISSING if first is None else p_text(max(trend.p for trend in trends.values())),
                fmt.MISSING if first is None else _rho(first),
                cell_word(drawn.cell),
                "" if first is not None else _why(drawn.cell),
            )
        )
    return rows


def run_rows(claim: ClaimVerdict, result: StudyResult) -> list[tuple[str, str]]:
    """(label, value): sources, controls, trials, seeds, CPU time, what is missing."""
    keys = set(keys_of(claim.cells))
    own = [row for row in result.trials if row.key in keys]
    seeds = sorted({seed for cell in claim.cells for seed in cell.data.seeds})
    levels = sorted({len(cell.data.levels) for cell in claim.cells})
    gone = missing_points(claim)
    shared = ", some of it shared with other claims" if len(result.claims) > 1 else ""
    rows = [
        ("sources", signs("; ".join(claim.sources)) or "none"),
        ("controls", signs("; ".join(claim.controls)) or "none"),
        ("trials", f"{fmt.count(len(own))}, in {fmt.plural(len(claim.cells), 'cell')}"),
        ("seeds", f"{len(seeds)}, with {_range(levels)} strengths (the reference among them)"),
        ("time", f"{fmt.seconds(sum(row.seconds for row in own))} of one process{shared}"),
    ]
    if gone:
        rows.append(("missing", f"{fmt.plural(gone, 'point')} of the figure: not run yet, or failed"))
    return rows


def missing_points(claim: ClaimVerdict) -> int:
    """How many places (seed, level) of the claim's cells have no value."""
    count = 0
    for cell in claim.cells:
        for i in range(len(cell.data.seeds)):
            for j in range(len(cell.data.levels)):
                count += all(values[i][j] is None for values in cell.data.outcomes.values())
    return count


def point_data(result: StudyResult) -> dict[str, Any]:
    """What stands behind each point, for the script: keys once, then for each claim its cells' numbers (rounded)."""
    places: dict[str, int] = {}
    claims = {}
    for claim in result.claims:
        outcomes = outcomes_of(claim)
        claims[claim.claim] = {
            "outcomes": [label(claim, one) for one in outcomes],
            "cells": [_points(claim, cell, outcomes, places) for cell in claim.cells],
        }
    return {"keys": [key[:SHORT_KEY] for key in places], "claims": claims}


def _points(claim: ClaimVerdict, cell: CellVerdict, outcomes: Sequence[str], places: dict[str, int]) -> dict[str, Any]:
    data = cell.data
    empty = tuple((None,) * len(data.levels) for _ in data.seeds)
    return {
        "name": cell_name(cell),
        "levels": [signs(level) for level in data.levels],
        "seeds": list(data.seeds),
        "predictor": label(claim, data.predictor),
        "x": _grid(data.x),
        "y": [_grid(data.outcomes.get(one, empty)) for one in outcomes],
        "keys": [[[places.setdefault(key, len(places)) for key in keys] for keys in row] for row in data.trials],
    }


def _grid(values: Sequence[Sequence[float | None]]) -> list[list[float | None]]:
    return [[None if value is None else rounded(value, 4) for value in row] for row in values]


def _overview_strip(claim: ClaimVerdict) -> Markup:
    """The first outcome's effects in the cells that decide, largest part first where there are many."""
    deciding = [one for one in drawn_cells(claim) if one.cell.trends and not one.control]
    if not deciding:
        return Markup("")
    ends = _ends([one.cell for one in deciding], deciding[0].cell.trends[0].outcome)
    items = []
    for one in deciding:
        trend = one.cell.trends[0]
        items.append((trend.effect.value, trend.effect.interval95, one.colour, f"{one.name}: {effect_text(trend)}"))
    if len(items) > _MOST_DOTS:  # a thin summary: every k-th of the sorted ones, both ends kept
        items.sort(key=lambda item: item[0])
        items = [items[round(i * (len(items) - 1) / (_MOST_DOTS - 1))] for i in range(_MOST_DOTS)]
    return Markup(strip(items, *span(ends), _WIDE_STRIP))


def _ends(cells: Sequence[CellVerdict], outcome: str) -> list[float]:
    """Values and interval ends of an outcome's effects; very wide intervals do not stretch the axis."""
    effects = [trend.effect for cell in cells for trend in cell.trends if trend.outcome == outcome]
    values = [abs(effect.value) for effect in effects]
    reach = 2.5 * max(values, default=0.0)
    ends = [end for effect in effects for end in effect.interval95]
    return [effect.value for effect in effects] + [min(max(end, -reach), reach) for end in ends]


def _rho(trend: Trend) -> str:
    return f"{fmt.logs(trend.rho)} {interval_text(trend.rho_interval95)}"


def _why(cell: CellVerdict) -> str:
    """Why a cell was not tested: what its words say after its name."""
    return signs(cell.words.rpartition(": ")[2])


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{values[0]} to {values[-1]}" if values else "no"

"""A claim's figures: its outcome against strength and against measured compressibility; small panels for many cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from textwrap import shorten, wrap

from markupsafe import Markup

from brittle.report import format as fmt
from brittle.report.study_cells import DrawnCell, LevelMean, drawn_cells, is_association, level_means, outcomes_of
from brittle.report.study_svg import ALONE, Axis, Mean, Series, axis, legend, panel, svg
from brittle.report.study_words import label, signs, with_unit
from brittle.results.study import ClaimVerdict

WIDTH, HEIGHT = 520.0, 310.0
ALONE_WIDTH = 760.0
SMALL, MIDDLE = (260.0, 200.0), (360.0, 250.0)
# Up to so many panels of single cells are drawn a little larger.
FEW = 4
# More cells than there are colours get a panel each.
MOST_TOGETHER = 7
# Characters of a line over a small panel, and of an axis name under it.
_SHORT = 36


@dataclass(frozen=True)
class OutcomeFigures:
    """The panels of one outcome; `together` when all cells share them (their legend is the claim's).

    `label` is the outcome's name, `axis` what stands on the vertical axis: the name with its unit.

    Where each cell has a panel of its own, those of controls stand apart in `controls`.
    """

    outcome: str
    label: str
    axis: str
    together: bool
    panels: tuple[Markup, ...]
    controls: tuple[Markup, ...] = ()


def claim_figures(claim: ClaimVerdict) -> tuple[OutcomeFigures, ...]:
    """The figures of each outcome that has a point to show, the criterion's outcomes first."""
    cells = drawn_cells(claim)
    found = []
    for outcome in outcomes_of(claim):
        own = [one for one in cells if level_means(one.cell, outcome)]
        if not own:
            continue
        name, on = label(claim, outcome), _axis_name(claim, own, outcome)
        if _share_a_panel(own):
            alt = f"{name} of {fmt.plural(len(own), 'cell')}, with 95% intervals over seeds"
            drawn = tuple(Markup(svg(inside, w, h, alt)) for inside, w, h in _together(claim, own, outcome))
            found.append(OutcomeFigures(outcome, name, on, True, drawn))
        else:
            pictures = [Markup(svg(*one, f"{name}: {cell.name}")) for one, cell in _apart(claim, own, outcome)]
            deciding = sum(not one.control for one in own)
            found.append(
                OutcomeFigures(outcome, name, on, False, tuple(pictures[:deciding]), tuple(pictures[deciding:]))
            )
    return tuple(found)


def standalone_svg(claim: ClaimVerdict) -> str:
    """The claim's first outcome as one SVG file with its legend; "" where there is no point to show."""
    cells = drawn_cells(claim)
    for outcome in outcomes_of(claim):
        own = [one for one in cells if level_means(one.cell, outcome)]
        if not own:
            continue
        together = _share_a_panel(own)
        if together:
            pictures: Sequence[_Picture] = _together(claim, own, outcome, refs=False)
        else:  # controls are left to the report, where there is anything else
            apart = _apart(claim, own, outcome, refs=False)
            pictures = [one for one, cell in apart if not cell.control] or [one for one, _ in apart]
        columns = len(pictures) if together else 2 if len(pictures) <= FEW else 4
        _, wide, high = pictures[0]
        top = 0.0 if together else 26.0
        parts = [
            f'<g transform="translate({wide * (i % columns):g} {top + high * (i // columns):g})">{inside}</g>'
            for i, (inside, _, _) in enumerate(pictures)
        ]
        width, height = wide * min(columns, len(pictures)), top + high * ((len(pictures) + columns - 1) // columns)
        if not together:
            parts.append(f'<text x="2" y="14">{escape(_axis_name(claim, own, outcome))}</text>')
        if together:
            lines, room = legend([_series(claim, one, outcome, None) for one in own], width, height + 6)
            parts, height = [*parts, lines], height + room + 10
        return svg("".join(parts), width, height, f"{claim.claim}: {label(claim, outcome)}", ALONE)
    return ""


_Picture = tuple[str, float, float]


def _together(
    claim: ClaimVerdict, cells: Sequence[DrawnCell], outcome: str, *, refs: bool = True
) -> tuple[_Picture, ...]:
    """Two panels with all cells; only the measured axis where levels have no order of their own."""
    measured = [_series(claim, one, outcome, None, refs=refs) for one in cells]
    y = axis(_axis_name(claim, cells, outcome), _heights(measured))
    x = axis(label(claim, cells[0].cell.data.predictor), [a for one in measured for a in _across(one)])
    width = ALONE_WIDTH if is_association(claim) else WIDTH
    pictures = [(panel(measured, x, y, width, HEIGHT), width, HEIGHT)]
    if not is_association(claim):
        step = 0.3 / max(len(cells) - 1, 1)
        shifts = [step * (i - (len(cells) - 1) / 2) if len(cells) > 1 else 0.0 for i in range(len(cells))]
        strengths = [_series(claim, one, outcome, s, refs=refs) for one, s in zip(cells, shifts, strict=True)]
        pictures.insert(0, (panel(strengths, _levels(cells), y, WIDTH, HEIGHT), WIDTH, HEIGHT))
    return tuple(pictures)


def _apart(
    claim: ClaimVerdict, cells: Sequence[DrawnCell], outcome: str, *, refs: bool = True
) -> list[tuple[_Picture, DrawnCell]]:
    """A small panel for each cell, those that decide first, all with the same y axis."""
    measured = is_association(claim)
    cells = sorted(cells, key=lambda one: one.control)
    series = [_series(claim, one, outcome, None if measured else 0.0, refs=refs) for one in cells]
    y = axis(_axis_name(claim, cells, outcome), _heights(series), most=4)
    few = sum(not one.control for one in cells) <= FEW
    pictures = []
    for one, line in zip(cells, series, strict=True):
        line = replace(line, seeds=()) if one.control else line  # they are many, and only stand beside
        predictor = label(claim, one.cell.data.predictor).partition(" (")[0].partition(": ")[0]
        x = axis(shorten(predictor, _SHORT, placeholder=" …"), _across(line), most=4) if measured else _levels([one], 3)
        width, height = MIDDLE if few and not one.control else SMALL
        title = wrap(one.name, _SHORT, max_lines=2, placeholder=" …")
        pictures.append(((panel([line], x, y, width, height, title), width, height), one))
    return pictures


def _share_a_panel(cells: Sequence[DrawnCell]) -> bool:
    """Few cells, measured in one way."""
    return len(cells) <= MOST_TOGETHER and len({one.cell.data.predictor for one in cells}) == 1


def _series(claim: ClaimVerdict, one: DrawnCell, outcome: str, shift: float | None, *, refs: bool = True) -> Series:
    """A cell's line: x is the level's place moved by `shift`, or the measured predictor where that is None."""
    data = one.cell.data
    means = tuple(
        Mean(mean.x if shift is None else mean.level + shift, mean.y, mean.interval, _said(mean))
        for mean in level_means(one.cell, outcome)
    )
    seeds = tuple(
        (x if shift is None else j + shift, y)
        for across, row in zip(data.x, data.outcomes[outcome], strict=True)
        for j, (x, y) in enumerate(zip(across, row, strict=True))
        if x is not None and y is not None
    )
    points = f"{claim.claim}.{one.key}.{outcomes_of(claim).index(outcome)}" if refs else ""
    joined = not is_association(claim)
    return Series(one.name, one.colour, one.symbol, one.control, joined, means, seeds, points)


def _said(mean: LevelMean) -> str:
    interval = "" if mean.interval is None else f" [{fmt.number(mean.interval[0])}, {fmt.number(mean.interval[1])}]"
    seeds = fmt.plural(mean.seeds, "seed")
    return f"{signs(mean.name)}: {fmt.number(mean.y)}{interval}, {seeds}; measured {fmt.number(mean.x)}"


def _levels(cells: Sequence[DrawnCell], most: int = 6) -> Axis:
    """Places 0, 1, ... of the levels: their names where all cells have the same, else first, last and numbers."""
    sets = {one.cell.data.levels for one in cells}
    longest = max(sets, key=len)
    k = len(longest)
    shared, short = _without_shared_word(longest)
    label = shared or "strength"
    if len(sets) > 1 or k > 2 * most:
        label = "strength, in the order of each source" if len(sets) > 1 else label
        first = {levels[0] for levels in sets}
        short = (first.pop() if len(first) == 1 else "0", *map(str, range(1, k)))
    # names that would touch: only every second, third, ... of them
    step = -(-(sum(map(len, short)) + k) // (10 * most))
    return Axis(label, -0.4, k - 0.6, tuple((float(i), short[i]) for i in range(0, k, step)))


def _without_shared_word(levels: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What all levels but the reference begin with, and their names without it: "rank 4", "rank 2" -> "rank"."""
    shared = {level.rpartition(" ")[0] for level in levels[1:]}
    first = shared.pop() if len(shared) == 1 else ""
    return first, tuple(level.removeprefix(f"{first} ") if first else level for level in levels)


def _axis_name(claim: ClaimVerdict, cells: Sequence[DrawnCell], outcome: str) -> str:
    units = [t.effect.unit for one in cells for t in one.cell.trends if t.outcome == outcome]
    return with_unit(label(claim, outcome), [unit for unit in units if unit != "rho"])


def _heights(series: Sequence[Series]) -> list[float]:
    """Seeds, means and intervals; ends far outside of all that was measured do not stretch the axis, they are cut."""
    seen = [y for one in series for y in [*(m.y for m in one.means), *(y for _, y in one.seeds)]]
    room = 0.4 * (max(seen) - min(seen))
    low, high = min(seen) - room, max(seen) + room
    ends = [end for one in series for mean in one.means for end in mean.interval or ()]
    return [*seen, *(min(max(end, low), high) for end in ends)]


def _across(series: Series) -> list[float]:
    return [*(m.x for m in series.means), *(x for x, _ in series.seeds)]

"""Clean and attacked representations over the regions that the head assigns to each class, one picture for each net."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from brittle.report import format as fmt
from brittle.report.figure import Figure, rounded, thinned
from brittle.report.nets import Net
from brittle.results.directions import Landscape

MAX_CHARACTERS = 100_000
MAX_SIDE, MAX_POINTS = 60, 150
MAX_LEGEND = 20
# characters of JSON
_PER_CELL, _PER_POINT = 2.2, 75
_COLOURS = (
    "#4c78a8", "#e0812c", "#54a24b", "#c8514f", "#8f6bb1", "#8c6d4f", "#d679b0", "#7f8790", "#a8a031", "#3aa6b0",
)  # fmt: skip


@dataclass(frozen=True)
class LandscapeGroup:
    """One threat: the nets with a landscape there, and the classes that their pictures show, as (name, colour)."""

    key: str
    title: str
    nets: tuple[Net, ...]
    legend: tuple[tuple[str, str], ...]
    hidden: int


def landscape_groups(shown: Sequence[Net]) -> tuple[LandscapeGroup, ...]:
    """A group for each threat, in the order met."""
    groups = []
    for i, rows in enumerate(_by_threat(shown).values()):
        used = _classes(rows)
        names = [_name(rows[0][0], c) for c in used]
        colours = dict(zip(used, _palette(len(used)), strict=True))
        legend = tuple((name, colours[c]) for name, c in zip(names, used, strict=True))
        first = rows[0][1]
        title = fmt.threat(first.norm, first.epsilon)
        groups.append(
            LandscapeGroup(f"l{i}", title, tuple(n for n, _ in rows), legend[:MAX_LEGEND], len(legend[MAX_LEGEND:]))
        )
    return tuple(groups)


def landscape_figures(shown: Sequence[Net]) -> dict[str, Figure]:
    """A picture for each net and threat, thinned so that all fit MAX_CHARACTERS."""
    found = _by_threat(shown)
    each = MAX_CHARACTERS / max(1, sum(map(len, found.values())))
    side = int(min(MAX_SIDE, max(12, math.sqrt(each / 2 / _PER_CELL))))
    points = int(min(MAX_POINTS, max(16, each / 2 / _PER_POINT)))
    figures = {}
    for i, rows in enumerate(found.values()):
        used = _classes(rows)
        for net, landscape in rows:
            figures[f"landscape-{net.key}-l{i}"] = _figure(net, landscape, used, side, points)
    return figures


def _by_threat(shown: Sequence[Net]) -> dict[tuple[str, float], list[tuple[Net, Landscape]]]:
    found: dict[tuple[str, float], list[tuple[Net, Landscape]]] = {}
    for net in shown:
        for landscape in net.audit.landscapes if net.audit is not None else ():
            found.setdefault((landscape.norm, landscape.epsilon), []).append((net, landscape))
    return found


def _classes(rows: Sequence[tuple[Net, Landscape]]) -> list[int]:
    """The classes that any picture of one threat shows: one colour for each, the same in all of them."""
    return sorted({c for _, s in rows for row in (*s.regions, s.labels) for c in row})


def _palette(n: int) -> list[str]:
    if n <= len(_COLOURS):
        return list(_COLOURS[:n])
    return [f"hsl({round(360 * i * 0.618034) % 360},45%,52%)" for i in range(n)]


def _name(net: Net, label: int) -> str:
    names = net.audit.data.classes if net.audit is not None else ()
    return names[label] if 0 <= label < len(names) else str(label)


def _figure(net: Net, found: Landscape, used: Sequence[int], side: int, points: int) -> Figure:
    place = {c: i for i, c in enumerate(used)}
    colours = _palette(len(used))
    left, right, bottom, top = found.extent
    height, width = len(found.regions), len(found.regions[0]) if found.regions else 0
    n = len(used)
    bands = [[end / n, colours[k]] for k in range(n) for end in (k, k + 1)]
    # numbers instead of colours keep the page small
    scale = {"cmin": -0.5, "cmax": n - 0.5, "colorscale": bands}
    traces: list[dict[str, Any]] = []
    if width > 1 and height > 1:
        columns, lines = thinned(width, side), thinned(height, side)
        traces.append(
            {
                "type": "heatmap",
                "x": [rounded(left + (right - left) * j / (width - 1), 4) for j in columns],
                "y": [rounded(bottom + (top - bottom) * i / (height - 1), 4) for i in lines],
                "z": [[place[found.regions[i][j]] for j in columns] for i in lines],
                "zmin": -0.5,
                "zmax": n - 0.5,
                "colorscale": bands,
                "showscale": False,
                "opacity": 0.3,
                "hoverinfo": "skip",
            }
        )
    kept = thinned(len(found.clean), points)
    clean = [(rounded(found.clean[i][0], 3), rounded(found.clean[i][1], 3)) for i in kept]
    attacked = [(rounded(found.attacked[i][0], 3), rounded(found.attacked[i][1], 3)) for i in kept]
    labels = [found.labels[i] for i in kept]
    ink = {**scale, "color": [place[label] for label in labels]}
    names = [escape(_name(net, label)) for label in labels]
    pairs = list(zip(clean, attacked, strict=True))
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": [v for a, b in pairs for v in (a[0], b[0], None)],
            "y": [v for a, b in pairs for v in (a[1], b[1], None)],
            "line": {"color": "rgba(128,128,128,.55)", "width": 0.8},
            "hoverinfo": "skip",
        }
    )
    for spots, symbol, size, word in ((clean, "circle", 6, "clean"), (attacked, "x-thin", 6, "attacked")):
        # a thin cross has no area to fill: its line carries the colour
        line = {"width": 1.8, **ink} if word == "attacked" else {"width": 0}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for x, _ in spots],
                "y": [y for _, y in spots],
                "marker": {"symbol": symbol, "size": size, "line": line, **ink},
                "text": names,
                "hovertemplate": f"class %{{text}}, {word}<extra></extra>",
            }
        )
    layout = {
        "height": 340,
        "margin": {"l": 40, "r": 10, "t": 8, "b": 46},
        "xaxis": {
            "title": {"text": f"1st component ({fmt.percent(found.variance[0])} of variance)"},
            "showgrid": False,
        },
        "yaxis": {"title": {"text": f"2nd ({fmt.percent(found.variance[1])})", "standoff": 2}, "showgrid": False},
    }
    if found.regions:
        layout["xaxis"]["range"], layout["yaxis"]["range"] = [left, right], [bottom, top]  # type: ignore[index]
    return {"traces": traces, "layout": layout}

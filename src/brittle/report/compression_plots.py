"""Size against accuracy as plotly traces and layouts: a line for each method, the parent in grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import log10

from brittle.report import format as fmt
from brittle.report.figure import Figure, error_bars, rounded
from brittle.report.training_lines import LOOKS, NEUTRAL, Line
from brittle.results.compression import CompressionResult, FrontPoint

PARENT = "parent"
# Fewer points than this are no picture.
_LEAST = 3

# An accuracy with its interval, None where it was not measured.
_Value = Callable[[FrontPoint], tuple[float, tuple[float, float]] | None]


def front_lines(result: CompressionResult) -> tuple[Line, ...]:
    """A line for each method in the order met, the parent first; none where there is no picture."""
    if len(result.front) < _LEAST:
        return ()
    methods = dict.fromkeys(point.method for point in result.front)
    others = [method for method in methods if method != PARENT]
    lines = [Line(f"method-{i}", method, *LOOKS[i % len(LOOKS)]) for i, method in enumerate(others)]
    return (Line("method-parent", PARENT, *NEUTRAL), *lines) if PARENT in methods else tuple(lines)


def front_figures(result: CompressionResult, threats: Sequence[tuple[str, float]]) -> dict[str, Figure]:
    """ "front-clean", and "front-0", "front-1", ... for each (norm, radius)."""
    lines = front_lines(result)
    if not lines:
        return {}
    figures = {"front-clean": _figure(result, lines, _clean)}
    for i, (norm, epsilon) in enumerate(threats):
        figures[f"front-{i}"] = _figure(result, lines, _attacked(norm, epsilon))
    return figures


def _clean(point: FrontPoint) -> tuple[float, tuple[float, float]] | None:
    return point.scores.clean, point.scores.clean_interval95


def _attacked(norm: str, epsilon: float) -> _Value:
    def value(point: FrontPoint) -> tuple[float, tuple[float, float]] | None:
        rows = [r for r in point.scores.robust if (r.norm, r.epsilon) == (norm, epsilon)]
        return (rows[0].attacked, rows[0].interval95) if rows else None

    return value


def _figure(result: CompressionResult, lines: Sequence[Line], value: _Value) -> Figure:
    parent = max(1, result.parent_size.parameters)
    traces = []
    for line in lines:
        points = sorted((p for p in result.front if p.method == line.name), key=lambda p: p.parameters)
        found = [(point, v) for point in points if (v := value(point)) is not None]
        if found:
            traces.append(_trace(line, found, parent))
    shares = [point.parameters / parent for point in result.front]
    return {
        "traces": traces,
        "layout": {
            "height": 340,
            "margin": {"l": 52, "r": 16, "t": 12, "b": 48},
            "xaxis": {"title": {"text": "parameters, share of the parent's"}, "type": "log", **_ticks(min(shares))},
            "yaxis": {"tickformat": ".0%", "title": {"text": ""}},
        },
    }


def _ticks(least: float) -> Figure:
    """Halves down to the smallest share, on a logarithmic axis."""
    values, share = [1.0], 0.5
    while share > least / 1.5 and len(values) < 12:
        values.append(share)
        share /= 2
    return {
        "tickvals": values,
        "ticktext": [f"{100 * v:.3g}%" for v in values],
        "range": [log10(least / 1.3), log10(1.25)],
    }


def _trace(line: Line, found: Sequence[tuple[FrontPoint, tuple[float, tuple[float, float]]]], parent: int) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [rounded(point.parameters / parent) for point, _ in found],
        "y": [rounded(v) for _, (v, _) in found],
        "error_y": error_bars([v for _, (v, _) in found], [i for _, (_, i) in found], line.colour),
        "line": {"color": line.colour, "width": 1.6, "dash": "3px,3px" if line.dash == "dot" else "solid"},
        "marker": {
            "color": line.colour,
            "symbol": [line.symbol + ("" if point.on_front else "-open") for point, _ in found],
            "size": 10,
            "line": {"width": 1.6, "color": line.colour},
        },
        "text": [
            f"<b>{escape(point.name)}</b><br>{fmt.count(point.parameters)} parameters<br>"
            f"{fmt.percent(v)} {fmt.percent_interval(i)}, n = {fmt.count(point.scores.n)}"
            + ("<br>on the front" if point.on_front else "")
            for point, (v, i) in found
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"net": line.key},
    }

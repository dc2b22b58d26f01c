"""The curves of a training run over its epochs, as plotly traces and layouts: drawn by static/report.js."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from brittle.report import format as fmt
from brittle.report.figure import Figure, error_bars, rounded, short, thinned
from brittle.report.training_lines import (
    LOOKS,
    QUANTITIES,
    Line,
    Quantity,
    attack_lines,
    clean_line,
    layer_lines,
    loss_lines,
    product_lines,
    value_of,
)
from brittle.results.training import EpochRow, Tracked, TrainingHistory

# More points than a screen has columns show nothing more.
_POINTS = 400
# Largest over smallest value from which on an axis may be logarithmic.
_WIDE = 30.0


def training_figures(history: TrainingHistory, seen: Sequence[tuple[int, Tracked]]) -> dict[str, Figure]:
    """Figures by the name that a chart's `data-figure` asks for; those without anything to show are left out."""
    rows = [history.rows[i] for i in thinned(len(history.rows), _POINTS)]
    last = history.rows[-1].epoch
    figures = {"loss": _losses(rows, last), "accuracy": _accuracies(rows, seen, last), "rate": _rates(rows, last)}
    for name in rows[0].penalties:
        look = Line(name, name, *LOOKS[0])
        points = [(row.epoch, row.penalties[name]) for row in rows if name in row.penalties]
        figures[f"penalty-{name}"] = _figure([_trace(look, points)], last, name, rangemode="tozero")
    if any(tracked.layers for _, tracked in seen):
        figures |= {f"layers-{quantity.key}": _layers(quantity, seen, last) for quantity in QUANTITIES}
        figures["product"] = _products(seen, last)
    return {name: figure for name, figure in figures.items() if figure["traces"]}


def _losses(rows: Sequence[EpochRow], last: int) -> Figure:
    training, validation = loss_lines()
    traces = [
        _trace(training, [(row.epoch, row.loss) for row in rows]),
        _trace(validation, [(row.epoch, row.validation_loss) for row in rows]),
    ]
    return _figure(traces, last, "nats", rangemode="tozero")


def _accuracies(rows: Sequence[EpochRow], seen: Sequence[tuple[int, Tracked]], last: int) -> Figure:
    traces = [_trace(clean_line("clean"), [(row.epoch, row.validation_accuracy) for row in rows], fmt.percent)]
    for key, line in attack_lines(seen).items():
        found = [
            (epoch, a.accuracy, a.interval95)
            for epoch, tracked in seen
            for a in tracked.attacked
            if (a.norm, a.epsilon, a.attack) == key
        ]
        trace = _trace(line, [(epoch, value) for epoch, value, _ in found], fmt.percent)
        trace["error_y"] = error_bars([value for _, value, _ in found], [i for _, _, i in found], line.colour)
        traces.append(trace)
    return _figure(traces, last, "accuracy", tickformat=".0%", range=[-0.02, 1.02])


def _rates(rows: Sequence[EpochRow], last: int) -> Figure:
    line = Line("rate", "learning rate", *LOOKS[0])
    return _figure([_trace(line, [(row.epoch, row.learning_rate) for row in rows])], last, "", rangemode="tozero")


def _layers(quantity: Quantity, seen: Sequence[tuple[int, Tracked]], last: int) -> Figure:
    traces = []
    for line, name in zip(layer_lines(seen), dict.fromkeys(y.name for _, t in seen for y in t.layers), strict=True):
        values = [(epoch, value_of(y, quantity.key)) for epoch, t in seen for y in t.layers if y.name == name]
        points = [(epoch, value) for epoch, value in values if value is not None]
        if quantity.logarithmic:
            points = [(epoch, value) for epoch, value in points if value > 0]
        if points:
            traces.append(_trace(line, points))
    return _figure(traces, last, "", **_scale(traces, logarithmic=quantity.logarithmic))


def _products(seen: Sequence[tuple[int, Tracked]], last: int) -> Figure:
    traces = []
    for line, norm in zip(product_lines(seen), dict.fromkeys(n for _, t in seen for n in t.products), strict=True):
        values = [(epoch, t.products.get(norm)) for epoch, t in seen]
        points = [(epoch, value) for epoch, value in values if value is not None and value > 0]
        if points:
            traces.append(_trace(line, points))
    return _figure(traces, last, "", **_scale(traces, logarithmic=True))


def _scale(traces: Sequence[Figure], *, logarithmic: bool) -> dict[str, Any]:
    """A logarithmic axis only where the values span enough for powers of ten to be read off it."""
    values = [value for trace in traces for value in trace["y"]]
    if logarithmic and values and max(values) > _WIDE * min(values):
        return {"type": "log", "exponentformat": "power", "dtick": 1}
    return {"rangemode": "tozero"}


def _trace(line: Line, points: Sequence[tuple[int, float]], write: Any = fmt.number) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines" if len(points) > 40 else "lines+markers",
        "x": [epoch for epoch, _ in points],
        "y": [rounded(value) for _, value in points],
        "text": [f"<b>{escape(short(line.name, 44))}</b><br>epoch {epoch}: {write(value)}" for epoch, value in points],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": line.colour, "width": 2, "dash": "3px,3px" if line.dash == "dot" else "solid"},
        "marker": {"color": line.colour, "symbol": line.symbol, "size": 6},
        "meta": {"net": line.key},
    }


def _figure(traces: list[Figure], last: int, title: str, **axis: Any) -> Figure:
    layout = {
        "height": 280,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
        "xaxis": {"title": {"text": "epoch"}, "range": [-0.02 * last, 1.02 * last], "nticks": 7},
        "yaxis": {**({"title": {"text": title}} if title else {}), **axis},
    }
    return {"traces": traces, "layout": layout}

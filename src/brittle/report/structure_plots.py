"""Structure over depth: one line for each kind of matrix, as plotly traces and layouts for static/report.js."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from brittle.report import format as fmt
from brittle.report.figure import Figure, error_bars, rounded
from brittle.report.structure_rows import rank_share
from brittle.report.training_lines import LOOKS, Line
from brittle.results.structure import MatrixStructure, Quantity

_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Drawn:
    """A quantity that can be drawn: `share` for fractions, which are written as percentages."""

    key: str
    label: str
    get: Callable[[MatrixStructure], Quantity]
    share: bool


QUANTITIES: tuple[Drawn, ...] = (
    Drawn("rank", "effective rank, share of the short side", rank_share, True),
    Drawn("sigma", "residual of the singular values", lambda row: row.spectral.epsilon, True),
    Drawn("rows", "residual of the row norms", lambda row: Quantity(row.neuron.epsilon, "exact"), True),
    Drawn("stable", "stable rank", lambda row: row.spectral.stable_rank, False),
    Drawn("scale", "Frobenius norm", lambda row: Quantity(row.frobenius, "exact"), False),
)


@dataclass(frozen=True)
class Kind:
    """Matrices whose names differ in numbers alone, with their depth, the first number."""

    line: Line
    rows: tuple[tuple[int, MatrixStructure], ...]


def kinds(matrices: Sequence[MatrixStructure]) -> tuple[tuple[Kind, ...], int]:
    """The kinds that repeat over depth, as many as there are colours, most entries first; and how many are left out."""
    found: dict[str, list[tuple[int, MatrixStructure]]] = {}
    for row in matrices:
        number = _NUMBER.search(row.name)
        if number is not None:
            found.setdefault(_NUMBER.sub("#", row.name), []).append((int(number[0]), row))
    repeated = {name: rows for name, rows in found.items() if len({depth for depth, _ in rows}) > 1}
    order = sorted(repeated, key=lambda name: -sum(row.parameters for _, row in repeated[name]))
    chosen = [name for name in repeated if name in order[: len(LOOKS)]]
    labels = _labels(chosen)
    made = tuple(
        Kind(Line(f"k{i}", labels[name], *LOOKS[i]), tuple(sorted(repeated[name], key=lambda pair: pair[0])))
        for i, name in enumerate(chosen)
    )
    return made, len(repeated) - len(chosen)


def structure_figures(shown: Sequence[Kind]) -> dict[str, Figure]:
    """Figures by the name that the chart asks for: one for each quantity."""
    return {f"depth-{drawn.key}": _figure(drawn, shown) for drawn in QUANTITIES} if shown else {}


def _figure(drawn: Drawn, shown: Sequence[Kind]) -> Figure:
    depths = [depth for kind in shown for depth, _ in kind.rows]
    low, high = min(depths), max(depths)
    room = 0.03 * max(1, high - low)
    layout = {
        "height": 340,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
        "xaxis": {"title": {"text": "depth"}, "range": [low - room, high + room], "nticks": 9},
        "yaxis": {"rangemode": "tozero", **({"tickformat": ".0%"} if drawn.share else {})},
    }
    return {"traces": [_trace(drawn, kind) for kind in shown], "layout": layout}


def _trace(drawn: Drawn, kind: Kind) -> Figure:
    line = kind.line
    found = [(depth, row, drawn.get(row)) for depth, row in kind.rows]
    once = len({depth for depth, _ in kind.rows}) == len(kind.rows)
    trace: Figure = {
        "type": "scatter",
        "mode": "lines+markers" if once else "markers",
        "x": [depth for depth, _, _ in found],
        "y": [rounded(quantity.value) for _, _, quantity in found],
        "text": [f"<b>{escape(row.name)}</b><br>{_written(drawn, quantity)}" for _, row, quantity in found],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": line.colour, "width": 2},
        "marker": {"color": line.colour, "symbol": line.symbol, "size": 6},
        "meta": {"net": line.key},
    }
    if any(quantity.interval95 is not None for _, _, quantity in found):
        values, ends = [q.value for _, _, q in found], [q.interval95 for _, _, q in found]
        trace["error_y"] = error_bars(values, ends, line.colour)
    return trace


def _written(drawn: Drawn, quantity: Quantity) -> str:
    sign = fmt.STATUS_SIGNS[quantity.status]
    if not drawn.share:
        return f"{sign} {fmt.number(quantity.value)}"
    interval = "" if quantity.interval95 is None else f" {fmt.percent_interval(quantity.interval95)}"
    return f"{sign} {fmt.percent(quantity.value)}{interval}"


def _labels(names: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the names that still tell them apart."""
    for length in range(1, 1 + max((name.count(".") + 1 for name in names), default=1)):
        ends = {name: ".".join(name.split(".")[-length:]) for name in names}
        if len(set(ends.values())) == len(names):
            return ends
    return {name: name for name in names}

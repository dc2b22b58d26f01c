"""The figures as data: plotly traces and layouts built here, drawn by static/report.js.

Texts inside a figure are escaped once more, because plotly reads a little HTML in them. Colours of text and grid are
left to the script, which takes them from the page's light or dark palette.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from brittle.report import format as fmt
from brittle.report.figure import rounded, short, tint
from brittle.report.nets import Net, children, paired_at, robustness_at
from brittle.report.rule import max_drop
from brittle.results.audit import Comparison, LayerChange

MAX_BARS = 30
SCALE_COLOUR, STRUCTURE_COLOUR = "#a9b4c0", "#5a6b80"


def drop_figure(shown: Sequence[Net], threats: Sequence[tuple[str, float]]) -> dict[str, Any] | None:
    """Drop in robust accuracy with its paired interval, a row for each threat and a line for each net."""
    compared = children(shown)
    if not compared:
        return None
    traces = []
    step = 0.66 / max(1, len(compared))
    for i, net in enumerate(compared):
        found = [(j, p) for j, (norm, e) in enumerate(threats) if (p := paired_at(net, norm, e)) is not None]
        offset = (i - (len(compared) - 1) / 2) * step
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [rounded(p.drop_points) for _, p in found],
                "y": [j + offset for j, _ in found],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [rounded(p.interval95[1] - p.drop_points) for _, p in found],
                    "arrayminus": [rounded(p.drop_points - p.interval95[0]) for _, p in found],
                    "color": net.colour,
                    "thickness": 2,
                    "width": 0,
                },
                "marker": {"color": net.colour, "symbol": net.symbol, "size": 9},
                "text": [
                    f"<b>{escape(net.name)}</b><br>{fmt.threat(p.norm, p.epsilon)}<br>"
                    f"drop {fmt.points(p.drop_points)} points<br>"
                    f"95% {fmt.points_interval(p.interval95)}, n = {fmt.count(p.n)}"
                    for _, p in found
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "meta": {"net": net.key},
            }
        )
    rules = [j for j in range(1, len(threats)) if threats[j][0] != threats[j - 1][0]]
    tolerances = {max_drop(net.audit) for net in compared if net.audit is not None}
    layout = {
        "height": 86 + len(threats) * (14 + 17 * len(compared)),
        "margin": {"l": 78, "r": 16, "t": 28, "b": 48},
        "xaxis": {"title": {"text": "drop in robust accuracy, points (right is worse)"}, "zeroline": True},
        "yaxis": {
            "tickvals": list(range(len(threats))),
            "ticktext": [f"{fmt.norm(norm)} {fmt.epsilon(e)}" for norm, e in threats],
            "range": [len(threats) - 0.45, -0.55],
            "showgrid": False,
        },
        "meta": {"tolerance": tolerances.pop() if len(tolerances) == 1 else None, "rows": len(threats), "rules": rules},
    }
    return {"traces": traces, "layout": layout}


def epsilon_figure(shown: Sequence[Net], norm: str, radii: Sequence[float]) -> dict[str, Any] | None:
    """Accuracy against the radius: the truth lies in the band from certified (dashed) to attacked (solid)."""
    traces: list[dict[str, Any]] = []
    for net in shown:
        found = [r for e in radii if (r := robustness_at(net, norm, e)) is not None]
        if not found:
            continue
        x = [0.0, *(r.epsilon for r in found)]
        clean = found[0].clean
        common = {"type": "scatter", "x": x, "meta": {"net": net.key}}
        traces.append(
            {
                **common,
                "mode": "lines",
                "y": [clean, *(r.certified for r in found)],
                "line": {"color": net.colour, "width": 1.2, "dash": "4px,3px"},
                "hoverinfo": "skip",
            }
        )
        texts = [
            f"<b>{escape(net.name)}</b><br>{fmt.threat(norm, r.epsilon)}<br>attacked {fmt.percent(r.attacked)} "
            f"{fmt.percent_interval(r.interval95)}<br>certified {fmt.percent(r.certified)}, n = {fmt.count(r.n)}"
            for r in found
        ]
        traces.append(
            {
                **common,
                "mode": "lines+markers",
                "y": [clean, *(r.attacked for r in found)],
                "fill": "tonexty",
                "fillcolor": tint(net.colour, 0.07),
                "line": {"color": net.colour, "width": 2},
                "marker": {"color": net.colour, "symbol": net.symbol, "size": 8},
                "cliponaxis": False,
                "text": [
                    f"<b>{escape(net.name)}</b><br>clean {fmt.percent(clean)}, n = {fmt.count(found[0].n)}",
                    *texts,
                ],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    if not traces:
        return None
    layout = {
        "height": 330,
        "margin": {"l": 50, "r": 12, "t": 10, "b": 46},
        "xaxis": {"title": {"text": f"{fmt.norm(norm)} radius ε (pixels in [0, 1])"}, "range": [0, 1.03 * max(radii)]},
        "yaxis": {"range": [0, 1.03], "tickformat": ".0%", "dtick": 0.25},
    }
    return {"traces": traces, "layout": layout}


def attribution_figure(comparison: Comparison, norm: str) -> dict[str, Any] | None:
    """Change of log ||T||_p layer by layer, scale and structure stacked, the sum as a diamond."""
    field = f"log_structure_{norm}"
    changes = [c for c in comparison.attribution if hasattr(c, field)]
    if not changes:
        return None

    def total(change: LayerChange) -> float:
        return change.log_scale + float(getattr(change, field))

    largest = sorted(changes, key=lambda c: -max(abs(c.log_scale), abs(getattr(c, field))))[:MAX_BARS]
    kept = [c for c in changes if c in largest]
    y = [escape(short(c.layer)) for c in kept]
    bars = [
        ("scale", SCALE_COLOUR, [c.log_scale for c in kept]),
        ("structure", STRUCTURE_COLOUR, [float(getattr(c, field)) for c in kept]),
    ]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [rounded(v) for v in values],
            "y": list(range(len(kept))),
            "marker": {"color": colour},
            "text": [
                f"{label}: {name} {fmt.logs(v)}  ({fmt.factor(math.exp(v))})"
                for label, v in zip(y, values, strict=True)
            ],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for name, colour, values in bars
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": [rounded(total(c)) for c in kept],
            "y": list(range(len(kept))),
            "marker": {"symbol": "diamond", "size": 10, "line": {"width": 1.5}},
            "text": [
                f"{label}: sum {fmt.logs(total(c))}  ({fmt.factor(math.exp(total(c)))})"
                for label, c in zip(y, kept, strict=True)
            ],
            "hovertemplate": "%{text}<extra></extra>",
            "meta": {"ink": True},
        }
    )
    layout = {
        "height": 88 + 30 * len(kept),
        "barmode": "relative",
        "bargap": 0.45,
        "margin": {"l": 96, "r": 16, "t": 8, "b": 46},
        "xaxis": {"title": {"text": f"change of log ‖layer‖, {fmt.norm(norm)}"}, "zeroline": True},
        "yaxis": {
            "range": [len(kept) - 0.4, -0.6],
            "tickvals": list(range(len(kept))),
            "ticktext": y,
            "showgrid": False,
        },
    }
    return {"traces": traces, "layout": layout, "left_out": len(changes) - len(kept)}

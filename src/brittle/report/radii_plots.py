"""Robust accuracy against every radius at once: it steps down at each sample's smallest perturbation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from brittle.report import format as fmt
from brittle.report.figure import Figure, rounded, thinned
from brittle.report.nets import Net
from brittle.results.perturbations import RadiusCurve

MAX_POINTS = 200
QUANTILES = ("0.1", "0.25", "0.5", "0.75", "0.9")


@dataclass(frozen=True)
class RadiusRow:
    """One net and norm: the share broken at once (radius 0), never broken, and the quantiles as shown."""

    net: Net
    norm: str
    attack: str
    n: str
    unbroken: str
    quantiles: tuple[str, ...]


def step_points(radii: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """(radii, accuracy from there on): the share of samples whose smallest perturbation is longer, first at 0."""
    n = max(1, len(radii))
    broken = sorted(r for r in radii if r is not None)
    x = [0.0, *dict.fromkeys(r for r in broken if r > 0)]
    y, passed = [], 0
    for radius in x:
        while passed < len(broken) and broken[passed] <= radius:
            passed += 1
        y.append((len(radii) - passed) / n)
    kept = thinned(len(x), MAX_POINTS)
    return [x[i] for i in kept], [y[i] for i in kept]


def radii_norms(shown: Sequence[Net]) -> tuple[str, ...]:
    """The norms that any net has a curve for, l_inf first."""
    found = dict.fromkeys(c.norm for net in shown if net.audit is not None for c in net.audit.radii)
    return tuple(sorted(found, key=lambda norm: (norm != "linf", norm != "l2", norm)))


def radii_figures(shown: Sequence[Net]) -> dict[str, Figure]:
    """A figure for each norm, by the name that a chart asks for."""
    return {f"radii-{norm}": _figure(shown, norm) for norm in radii_norms(shown)}


def radius_rows(shown: Sequence[Net]) -> tuple[RadiusRow, ...]:
    """A row for each curve, norms together."""
    return tuple(
        RadiusRow(
            net,
            fmt.norm(norm),
            curve.attack,
            fmt.count(curve.n),
            fmt.count(sum(r is None for r in curve.radii)),
            tuple(fmt.number(curve.quantiles.get(q)) for q in QUANTILES),
        )
        for norm in radii_norms(shown)
        for net, curve in _curves(shown, norm)
    )


def _curves(shown: Sequence[Net], norm: str) -> list[tuple[Net, RadiusCurve]]:
    return [(net, c) for net in shown if net.audit is not None for c in net.audit.radii if c.norm == norm]


def _figure(shown: Sequence[Net], norm: str) -> Figure:
    traces: list[Figure] = []
    curves = _curves(shown, norm)
    ends = [r.epsilon for net, _ in curves if net.audit for r in net.audit.robustness if r.norm == norm]
    for net, curve in curves:
        x, y = step_points(curve.radii)
        finite = sorted(r for r in curve.radii if r)
        # the last few samples would stretch the axis
        ends += finite[: max(1, round(0.97 * len(finite)))][-1:]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [rounded(v, 4) for v in x],
                "y": [rounded(v, 4) for v in y],
                "line": {"color": net.colour, "width": 2, "shape": "hv"},
                "hovertemplate": f"<b>{escape(net.name)}</b>, {escape(curve.attack)}<br>"
                f"ε = %{{x:.4g}}: at most %{{y:.1%}}<br>n = {fmt.count(curve.n)}<extra></extra>",
                "meta": {"net": net.key},
            }
        )
    for net in shown:
        if any(holder == net for holder, _ in curves):
            traces += _audited(net, norm)
    layout = {
        "height": 330,
        "margin": {"l": 50, "r": 12, "t": 10, "b": 46},
        "xaxis": {
            "title": {"text": f"{escape(fmt.norm(norm))} radius ε (pixels in [0, 1])"},
            "range": [0, 1.03 * max(ends, default=1.0)],
        },
        "yaxis": {"range": [0, 1.03], "tickformat": ".0%", "dtick": 0.25},
    }
    return {"traces": traces, "layout": layout}


def _audited(net: Net, norm: str) -> list[Figure]:
    """The audited radii on top of the curve: attacked filled, certified open."""
    rows = [r for r in net.audit.robustness if r.norm == norm] if net.audit is not None else []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [r.epsilon for r in rows],
            "y": [rounded(r.certified if certified else r.attacked) for r in rows],
            "marker": {"color": net.colour, "symbol": f"{net.symbol}-open" if certified else net.symbol, "size": 8},
            "cliponaxis": False,
            "hovertemplate": f"<b>{escape(net.name)}</b><br>ε = %{{x:.4g}}: %{{y:.1%}} "
            f"{'certified' if certified else 'under attack'}<extra></extra>",
            "meta": {"net": net.key},
        }
        for certified in (True, False)
        if rows
    ]

"""What the leading directions explain of attacks: damage against m, and how far attacks point along each direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from brittle.report import format as fmt
from brittle.report.figure import Figure, error_bars, rounded, tint
from brittle.report.findings import quoted, reach_sentence
from brittle.report.nets import Net
from brittle.results.directions import Explained


@dataclass(frozen=True)
class Case:
    """One map, threat and box, the nets that were measured so, and a sentence on each."""

    key: str
    title: str
    rows: tuple[tuple[Net, Explained], ...]

    def sentences(self) -> tuple[tuple[Net, str, str], ...]:
        """(net, what m directions reach, how many would reach 90 %) in words."""
        return tuple((net, *_words(found)) for net, found in self.rows)


def explained_cases(shown: Sequence[Net]) -> tuple[Case, ...]:
    """The cases in the order first met; the box is named only where it was lifted for some of them."""
    found: dict[tuple[str, str, float, bool], list[tuple[Net, Explained]]] = {}
    for net in shown:
        for e in net.audit.explained if net.audit is not None else ():
            found.setdefault((e.map, e.norm, e.epsilon, e.box), []).append((net, e))
    lifted = any(not box for *_, box in found)
    cases = []
    for i, ((name, norm, epsilon, box), rows) in enumerate(found.items()):
        room = "" if not lifted else ", pixels in [0, 1]" if box else ", pixels may leave [0, 1]"
        cases.append(Case(f"e{i}", f"{name}, {fmt.threat(norm, epsilon)}{room}", tuple(rows)))
    return tuple(cases)


def explained_figures(cases: Sequence[Case]) -> dict[str, Figure]:
    """Both figures of every case, by the name that a chart asks for."""
    figures: dict[str, Figure] = {}
    for case in cases:
        for name, figure in (("curve", _curve_figure(case)), ("overlap", _overlap_figure(case))):
            if figure is not None:
                figures[f"explained-{name}-{case.key}"] = figure
    return figures


def _curve_figure(case: Case) -> Figure | None:
    traces: list[Figure] = []
    for net, explained in case.rows:
        points = [c for c in explained.curve if c.damage is not None]
        x = [c.m for c in points]
        y = [rounded(c.damage or 0.0) for c in points]
        random = [c for c in points if c.random_damage is not None]
        common = {"type": "scatter", "meta": {"net": net.key}, "cliponaxis": False}
        traces.append(
            {
                **common,
                "mode": "lines+markers",
                "x": [c.m for c in random],
                "y": [rounded(c.random_damage or 0.0) for c in random],
                "error_y": error_bars(
                    [c.random_damage or 0.0 for c in random], [c.random_interval95 for c in random], net.colour
                ),
                "line": {"color": net.colour, "width": 1.3, "dash": "4px,3px"},
                "marker": {"color": net.colour, "symbol": f"{net.symbol}-open", "size": 6},
                "hovertemplate": f"<b>{escape(net.name)}</b><br>%{{x}} random: %{{y:.1%}}<extra></extra>",
            }
        )
        traces.append(
            {
                **common,
                "mode": "lines+markers",
                "x": x,
                "y": y,
                "error_y": error_bars([c.damage or 0.0 for c in points], [c.interval95 for c in points], net.colour),
                "line": {"color": net.colour, "width": 2},
                "marker": {"color": net.colour, "symbol": net.symbol, "size": 8},
                "text": [fmt.percent(c.accuracy) for c in points],
                "hovertemplate": f"<b>{escape(net.name)}</b><br>%{{x}} leading: %{{y:.1%}} of the damage<br>"
                "accuracy left %{text}<extra></extra>",
            }
        )
    steps = sorted({m for trace in traces for m in trace["x"]})
    if not steps:
        return None
    top = max([1.0, *(y for trace in traces for y in trace["y"])])
    low = min([0.0, *(y for trace in traces for y in trace["y"])])
    layout = {
        "height": 320,
        "margin": {"l": 50, "r": 14, "t": 12, "b": 46},
        "xaxis": {
            "title": {"text": "directions m"},
            "type": "log",
            "tickvals": steps,
            "ticktext": list(map(str, steps)),
        },
        "yaxis": {"range": [low - 0.02, top + 0.04], "tickformat": ".0%", "zeroline": True},
        "meta": {"level": 0.9},
    }
    return {"traces": traces, "layout": layout}


def _overlap_figure(case: Case) -> Figure | None:
    traces: list[Figure] = []
    rows = [(net, e) for net, e in case.rows if e.overlap]
    if not rows:
        return None
    most = max(len(e.overlap) for _, e in rows)
    for net, e in rows:
        traces.append(
            {
                "type": "bar",
                "x": list(range(1, len(e.overlap) + 1)),
                "y": [rounded(v, 4) for v in e.overlap],
                "marker": {"color": net.colour, "line": {"width": 0}},
                "hovertemplate": f"<b>{escape(net.name)}</b><br>direction %{{x}}: %{{y:.3f}}<extra></extra>",
                "meta": {"net": net.key},
            }
        )
    for net, e in rows:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [0.5, most + 0.5],
                "y": [rounded(e.overlap_random, 4)] * 2,
                "line": {"color": tint(net.colour, 0.9), "width": 1.3, "dash": "4px,3px"},
                "hovertemplate": f"<b>{escape(net.name)}</b><br>random direction: %{{y:.3f}}<extra></extra>",
                "meta": {"net": net.key},
            }
        )
    layout = {
        "height": 320,
        "barmode": "group",
        "bargap": 0.3,
        "margin": {"l": 50, "r": 14, "t": 12, "b": 46},
        "xaxis": {
            "title": {"text": "direction, largest energy first"},
            "dtick": 1 if most <= 16 else 4,
            "range": [0.4, most + 0.6],
        },
        "yaxis": {"title": {"text": "mean |v·a| / ‖a‖₂"}, "rangemode": "tozero"},
    }
    return {"traces": traces, "layout": layout}


def _words(explained: Explained) -> tuple[str, str]:
    point = quoted(explained)
    if point is None:
        return "The full attack does no damage here, so there is nothing to explain.", ""
    largest = max(c.m for c in explained.curve)
    enough = (
        f"{explained.m_for_90} reach 90% of the damage."
        if explained.m_for_90 is not None
        else f"None of the m tried, up to {largest}, reaches 90% of the damage."
    )
    return reach_sentence(
        point, explained.map, f"n = {fmt.count(explained.n)}"
    ), "" if point.m == explained.m_for_90 else enough

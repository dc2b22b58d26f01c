"""The causal probe: accuracy against stable rank when only the spread of the weights was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from brittle.report import format as fmt
from brittle.report.figure import Figure, error_bars, rounded
from brittle.report.nets import Net
from brittle.results.directions import Probe


@dataclass(frozen=True)
class ProbeRow:
    """One change of one net's weights; `robust` in the order of the threats."""

    net: Net
    change: str
    strength: str
    stable_rank: str
    clean: str
    robust: tuple[str, ...]
    n: str


def probe_threats(shown: Sequence[Net]) -> tuple[str, ...]:
    """Keys such as "linf@0.1" of the threats measured, in the order met."""
    return tuple(dict.fromkeys(key for net in shown if net.audit for p in net.audit.probes for key in p.robust))


def probe_options(shown: Sequence[Net]) -> list[tuple[str, str]]:
    """(value, text) of the threat chooser."""
    return [(f"p{i}", threat_title(key)) for i, key in enumerate(probe_threats(shown))]


def threat_title(key: str) -> str:
    """ "linf@0.1" as "ℓ∞ ε = 0.1"; anything else as it is."""
    norm, _, radius = key.partition("@")
    try:
        return fmt.threat(norm, float(radius))
    except ValueError:
        return key


def probe_rows(shown: Sequence[Net]) -> tuple[ProbeRow, ...]:
    """A row for each net and change, smallest stable rank last: from flattened to concentrated."""
    keys = probe_threats(shown)
    return tuple(
        ProbeRow(
            net,
            p.change,
            fmt.number(p.strength),
            fmt.number(p.stable_rank),
            f"{fmt.percent(p.clean)} {fmt.percent_interval(p.clean_interval95)}",
            tuple(
                f"{fmt.percent(p.robust.get(key))} {fmt.percent_interval(p.robust_interval95[key])}"
                if key in p.robust and key in p.robust_interval95
                else fmt.percent(p.robust.get(key))
                for key in keys
            ),
            fmt.count(p.n),
        )
        for net in shown
        for p in _probes(net)
    )


def probe_figures(shown: Sequence[Net]) -> dict[str, Figure]:
    """A figure for each threat: clean accuracy open and dashed, robust accuracy filled."""
    return {f"probe-p{i}": _figure(shown, key) for i, key in enumerate(probe_threats(shown))}


def _probes(net: Net) -> list[Probe]:
    return sorted(net.audit.probes if net.audit is not None else (), key=lambda p: -p.stable_rank)


def _figure(shown: Sequence[Net], key: str) -> Figure:
    traces = []
    for net in shown:
        probes = [p for p in _probes(net) if key in p.robust]
        if probes:
            clean = [(p, p.clean, p.clean_interval95) for p in probes]
            robust = [(p, p.robust[key], p.robust_interval95.get(key)) for p in probes]
            traces += [_trace(net, clean, False), _trace(net, robust, True)]
    layout = {
        "height": 330,
        "margin": {"l": 50, "r": 14, "t": 10, "b": 46},
        "xaxis": {"title": {"text": "mean stable rank (left: energy in few directions)"}, "rangemode": "tozero"},
        "yaxis": {"range": [0, 1.03], "tickformat": ".0%", "dtick": 0.25},
    }
    return {"traces": traces, "layout": layout}


def _trace(net: Net, points: Sequence[tuple[Probe, float, tuple[float, float] | None]], attacked: bool) -> Figure:
    values = [value for _, value, _ in points]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [rounded(p.stable_rank, 4) for p, _, _ in points],
        "y": [rounded(v) for v in values],
        "error_y": error_bars(values, [interval for *_, interval in points], net.colour),
        "line": {"color": net.colour, "width": 2 if attacked else 1.2, "dash": "solid" if attacked else "4px,3px"},
        "marker": {"color": net.colour, "symbol": net.symbol if attacked else f"{net.symbol}-open", "size": 8},
        "cliponaxis": False,
        "text": [f"{escape(p.change)}, strength {fmt.number(p.strength)}, n = {fmt.count(p.n)}" for p, _, _ in points],
        "hovertemplate": f"<b>{escape(net.name)}</b> {'under attack' if attacked else 'clean'} %{{y:.1%}}<br>"
        "stable rank %{x:.3g}<br>%{text}<extra></extra>",
        "meta": {"net": net.key},
    }

"""How a perturbation grows from layer to layer: attacked against noise of equal length, a row for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from brittle.report import format as fmt
from brittle.report.figure import Figure, error_bars, rounded, short, thinned
from brittle.report.nets import Net
from brittle.results.directions import Amplification

MAX_LAYERS = 32


def amplification_threats(shown: Sequence[Net]) -> tuple[tuple[str, float], ...]:
    """The threats that any net was measured at, in the order met."""
    rows = (a for net in shown if net.audit is not None for a in net.audit.amplification)
    return tuple(dict.fromkeys((a.norm, a.epsilon) for a in rows))


def amplification_figures(shown: Sequence[Net]) -> dict[str, Figure]:
    """A figure for each threat, by the name that a chart asks for."""
    return {
        f"amplification-a{i}": _figure(shown, norm, epsilon)
        for i, (norm, epsilon) in enumerate(amplification_threats(shown))
    }


def layer_order(lists: Sequence[Sequence[str]]) -> list[str]:
    """All layers of all nets from input to output: one that only some nets have follows its neighbour there."""
    order: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return order


def _figure(shown: Sequence[Net], norm: str, epsilon: float) -> Figure:
    measured = {
        net.key: [a for a in net.audit.amplification if (a.norm, a.epsilon) == (norm, epsilon)]
        for net in shown
        if net.audit is not None
    }
    every = layer_order([[a.layer for a in rows] for rows in measured.values()])
    layers = [every[i] for i in thinned(len(every), MAX_LAYERS)]
    nets = [net for net in shown if measured.get(net.key)]
    step = 0.7 / max(1, len(nets))
    traces = []
    for i, net in enumerate(nets):
        offset = (i - (len(nets) - 1) / 2) * step
        rows = [a for a in measured[net.key] if a.layer in layers]
        for kind in ("noise", "attacked"):
            traces.append(_trace(net, kind, rows, [layers.index(a.layer) + offset for a in rows]))
    layout = {
        "height": 80 + len(layers) * (14 + 13 * len(nets)),
        "margin": {"l": 104, "r": 16, "t": 10, "b": 48},
        "xaxis": {
            "title": {"text": "mean ‖change of output‖₂ / ‖output‖₂"},
            "type": "log",
            "dtick": "D2",
            "tickformat": "~g",
        },
        "yaxis": {
            "range": [len(layers) - 0.45, -0.55],
            "tickvals": list(range(len(layers))),
            "ticktext": [escape(short(name)) for name in layers],
            "showgrid": False,
        },
        "meta": {"rows": len(layers), "rules": []},
    }
    return {"traces": traces, "layout": layout, "left_out": len(every) - len(layers)}


def _trace(net: Net, kind: str, rows: Sequence[Amplification], y: Sequence[float]) -> Figure:
    attacked = kind == "attacked"
    # zero has no place on a logarithmic axis
    kept = [(a, place) for a, place in zip(rows, y, strict=True) if (a.attacked if attacked else a.noise) > 0]
    values = [a.attacked if attacked else a.noise for a, _ in kept]
    ends = [a.attacked_interval95 if attacked else a.noise_interval95 for a, _ in kept]
    low = [(max(end[0], 1e-3 * value), end[1]) for value, end in zip(values, ends, strict=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded(v, 4) for v in values],
        "y": [rounded(place) for _, place in kept],
        "error_x": error_bars(values, low, net.colour),
        "marker": {"color": net.colour, "symbol": net.symbol if attacked else f"{net.symbol}-open", "size": 8},
        "customdata": [
            [escape(a.layer), f"{fmt.number(e[0])}, {fmt.number(e[1])}", a.n]
            for (a, _), e in zip(kept, ends, strict=True)
        ],
        "hovertemplate": f"<b>{escape(net.name)}</b>, {'under attack' if attacked else 'under noise'}<br>"
        "%{customdata[0]}: %{x:.3g}<br>95% [%{customdata[1]}], n = %{customdata[2]}<extra></extra>",
        "meta": {"net": net.key},
    }

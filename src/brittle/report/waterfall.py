"""The waterfall of log L_hat: bar by bar from the base's encoder constant to the child's, as plotly data and as SVG.

Bars carry full precision: they add up to the change of log L_hat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markupsafe import Markup

from brittle.report import format as fmt
from brittle.report.nets import Net, children
from brittle.results.encoder import EncoderChange, EncoderTerm

MAX_BARS = 24
# Every part of a term, in the order of drawing: its field, its colour.
PARTS = {
    "compressibility": "#5a6b80",
    "spread": "#8fa3b8",
    "shape": "#c2a36b",
    "scale": "#a9b4c0",
    "geometry": "#8b8589",
    "alignment": "#3f8f8a",
}
_TOTAL, _OTHER = "#2b3440", "#d5dae0"
# Parts below this are rounding, not a change: no bar.
_NOTHING = 1e-12


@dataclass(frozen=True)
class Bar:
    """One step from `start` to `end`, natural logarithms relative to the base."""

    layer: str
    part: str
    start: float
    end: float

    @property
    def value(self) -> float:
        """The step's length, with sign."""
        return self.end - self.start


def waterfall_bars(change: EncoderChange, most: int = MAX_BARS) -> tuple[Bar, ...]:
    """The steps in the layers' order, the smallest beyond `most` merged into one, "other"; empty without a change.

    The last bar ends at the change of log L_hat.
    """
    steps = [
        (term.layer, part, float(getattr(term, part)))
        for term in change.terms
        for part in PARTS
        if abs(getattr(term, part)) > _NOTHING
    ]
    largest = sorted(range(len(steps)), key=lambda i: -abs(steps[i][2]))
    # "other" takes one of the places
    kept = set(largest if len(steps) <= most else largest[: most - 1])
    chosen = [step for i, step in enumerate(steps) if i in kept]
    left = [step for i, step in enumerate(steps) if i not in kept]
    if left:
        chosen.append((fmt.plural(len(left), "smaller part"), "other", math.fsum(value for _, _, value in left)))
    bars, values = [], []
    start = 0.0
    for layer, part, value in chosen:
        values.append(value)
        end = math.fsum(values)
        bars.append(Bar(layer, part, start, end))
        start = end
    return tuple(bars)


def waterfall_figure(change: EncoderChange) -> dict[str, Any] | None:
    """Traces and layout for plotly: a horizontal bar for each step, one trace for each part, the sum below."""
    bars = waterfall_bars(change)
    if change.log_change is None or not bars:
        return None
    traces = []
    for part, colour in {**PARTS, "other": _OTHER}.items():
        own = [(i, bar) for i, bar in enumerate(bars) if bar.part == part]
        if own:
            traces.append(_trace(part, colour, own))
    total = Bar("log L̂", "total", 0.0, change.log_change)
    traces.append(_trace("total", _TOTAL, [(len(bars), total)]))
    rows = [*bars, total]
    layout = {
        "height": 88 + 24 * len(rows),
        "barmode": "overlay",
        "bargap": 0.35,
        "margin": {"l": 150, "r": 16, "t": 8, "b": 46},
        "xaxis": {"title": {"text": f"change of log L̂, {fmt.norm(change.norm)}"}, "zeroline": True},
        "yaxis": {
            "range": [len(rows) - 0.4, -0.6],
            "tickvals": list(range(len(rows))),
            "ticktext": [escape(_label(bar)) for bar in rows],
            "showgrid": False,
        },
    }
    return {"traces": traces, "layout": layout}


def waterfall_svg(change: EncoderChange, title: str) -> str:
    """The same picture as one SVG element without scripts, readable on light and dark pages; "" without a change."""
    bars = waterfall_bars(change)
    if change.log_change is None or not bars:
        return ""
    rows = [*bars, Bar("log L̂", "total", 0.0, change.log_change)]
    ends = [0.0, *(x for bar in rows for x in (bar.start, bar.end))]
    low, high = min(ends), max(ends)
    left, right, top, step = 190.0, 80.0, 40.0, 24.0
    width, height = 720.0, top + step * len(rows) + 34
    unit = (width - left - right) / max(high - low, 1e-9)

    def place(x: float) -> float:
        return left + (x - low) * unit

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="waterfall" viewBox="0 0 {width:g} {height:g}" role="img" '
        'font-size="12" '
        f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>',
        # scoped by the class: inside a page a style element counts for the whole document
        "<style>.waterfall text{fill:#1d2733}.waterfall .rule{stroke:#8a94a0}.waterfall .total{fill:#2b3440}"
        "@media (prefers-color-scheme:dark){.waterfall text,.waterfall .total{fill:#e6ebf1}}</style>",
        f'<text x="{left:g}" y="20" font-size="14">{escape(title)}</text>',
        f'<path class="rule" d="M{place(0):.1f} {top - 6:g}V{top + step * len(rows):g}"/>',
    ]
    for i, bar in enumerate(rows):
        y = top + step * i
        x, length = place(min(bar.start, bar.end)), max(abs(bar.value) * unit, 1.0)
        colour = 'class="total"' if bar.part == "total" else f'fill="{PARTS.get(bar.part, _OTHER)}"'
        out.append(f'<rect x="{x:.1f}" y="{y:g}" width="{length:.1f}" height="{step - 8:g}" {colour}/>')
        out.append(f'<text x="{left - 10:g}" y="{y + 12:g}" text-anchor="end">{escape(_label(bar))}</text>')
        out.append(f'<text x="{x + length + 6:.1f}" y="{y + 12:g}">{fmt.logs(bar.value)}</text>')
    factor = fmt.factor(math.exp(min(change.log_change, 700.0)))
    note = f"change of log L̂, {fmt.norm(change.norm)}, natural logarithm: {fmt.logs(change.log_change)} ({factor})"
    out.append(f'<text x="{left:g}" y="{height - 10:g}">{escape(note)}</text></svg>')
    return "".join(out)


def waterfalls(shown: Sequence[Net]) -> tuple[tuple[Net, tuple[Markup, ...]], ...]:
    """For each compared net the pictures of log L_hat with exact norms, one for each norm that has a bound."""
    found = []
    for net in children(shown):
        assert net.audit is not None
        assert net.audit.comparison is not None
        changes = [change for change in net.audit.comparison.encoder if change.kind == "exact-norms"]
        pictures = [waterfall_svg(c, f"{net.name}, {fmt.norm(c.norm)}: from the base to this net") for c in changes]
        if any(pictures):
            found.append((net, tuple(Markup(picture) for picture in pictures if picture)))
    return tuple(found)


def part_sums(terms: Sequence[EncoderTerm]) -> dict[str, float]:
    """Each part summed over layers: for one line of text under the picture."""
    return {part: math.fsum(getattr(term, part) for term in terms) for part in PARTS}


def _label(bar: Bar) -> str:
    short = bar.layer if len(bar.layer) <= 16 else "…" + bar.layer[-15:]
    return short if bar.part in ("other", "total") else f"{short} {bar.part}"


def _trace(part: str, colour: str, own: Sequence[tuple[int, Bar]]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": part,
        "x": [bar.value for _, bar in own],
        "base": [bar.start for _, bar in own],
        "y": [i for i, _ in own],
        "marker": {"color": colour},
        "text": [
            f"{escape(_label(bar))}: {fmt.logs(bar.value)}  ({fmt.factor(math.exp(min(bar.value, 700.0)))})"
            for _, bar in own
        ],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"ink": part == "total"},
    }

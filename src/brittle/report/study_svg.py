"""Plots of a study as plain SVG: they print, follow the page's light or dark colours, and stand alone in Markdown.

Colours of text and grid come from CSS classes; coordinates are those of the view box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 30.0, 44.0
# Half the size of a mean's marker; from one line of text to the next.
_MARK, _LINE = 4.4, 15.0
# For an SVG that stands alone; pages have the same classes in their own colours.
ALONE = (
    "<style>.plot text{fill:#525c68;font:12.5px system-ui,sans-serif}.plot .name{fill:#1b2026}"
    ".plot .grid{stroke:#e6e9ed}.plot .rule{stroke:#8b95a1}.plot .mean{stroke-width:2;fill:none}"
    ".plot .bar{stroke-width:1.6}.plot .seed{opacity:.3}.plot .mark-hollow{fill:#fff;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){.plot text{fill:#aab3bd}.plot .name{fill:#e6e9ed}"
    ".plot .grid{stroke:#2a3138}.plot .ink{filter:brightness(1.35)}.plot .mark-hollow{fill:#14181c}}</style>"
)


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high` (low < high), ticks as (value, text)."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Mean:
    """A marker with its interval (None: none) and what it says when pointed at."""

    x: float
    y: float
    interval: tuple[float, float] | None
    title: str


@dataclass(frozen=True)
class Series:
    """One cell: its means, joined by a line unless `joined` is False, and a faint dot (x, y) for each network.

    `points` names the dots' place inside the page's data, where they stand in the same order; "" for none.
    """

    name: str
    colour: str
    symbol: str
    dashed: bool
    joined: bool
    means: tuple[Mean, ...]
    seeds: tuple[tuple[float, float], ...]
    points: str = ""


def axis(label: str, values: Sequence[float], most: int = 5) -> Axis:
    """An axis with round ticks around the values (at least one), a little wider than they are."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high), 1e-6) * 0.1
    low, high = low - room, high + room
    step = _round_step((high - low) / most)
    first = math.ceil(low / step)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    places = range(first, math.floor(high / step) + 1)
    ticks = tuple((i * step, f"{i * step:.{digits}f}".replace("-", "−")) for i in places)
    return Axis(label, low, high, ticks)


def panel(series: Sequence[Series], x: Axis, y: Axis, width: float, height: float, title: Sequence[str] = ()) -> str:
    """The inside of an SVG: grid, axes, then seeds, intervals, lines and markers of all series, the first on top.

    The y axis is named above it, where nothing has to be turned; the lines of `title` take that place where given.
    """
    lines = list(title) or [y.label]
    top, right, bottom = TOP + _LINE * (len(lines) - 1), width - RIGHT, height - BOTTOM

    def px(value: float) -> str:
        return f"{LEFT + (value - x.low) / (x.high - x.low) * (right - LEFT):.1f}"

    def py(value: float) -> str:
        return f"{bottom - (value - y.low) / (y.high - y.low) * (bottom - top):.1f}"

    out = [f'<text class="name" x="2" y="{14 + _LINE * i:g}">{escape(text)}</text>' for i, text in enumerate(lines)]
    for value, text in y.ticks:
        kind = "rule" if value == 0 and y.low < 0 else "grid"
        out.append(f'<path class="{kind}" d="M{LEFT:g} {py(value)}H{right:g}"/>')
        out.append(f'<text x="{LEFT - 7:g}" y="{py(value)}" dy=".33em" text-anchor="end">{text}</text>')
    for value, text in x.ticks:
        out.append(f'<text x="{px(value)}" y="{bottom + 17:g}" text-anchor="middle">{escape(text)}</text>')
    middle = (LEFT + right) / 2
    out.append(f'<text x="{middle:g}" y="{bottom + 37:g}" text-anchor="middle">{escape(x.label)}</text>')
    for one in reversed(series):
        out.append(f'<g class="ink" fill="{one.colour}" stroke="{one.colour}">')
        dots = "".join(f'<circle cx="{px(a)}" cy="{py(b)}" r="2.6"/>' for a, b in one.seeds)
        out.append(f'<g class="seed" stroke="none"{_attribute("data-points", one.points)}>{dots}</g>')
        if one.joined and len(one.means) > 1:
            dash = ' stroke-dasharray="5 4"' if one.dashed else ""
            places = " ".join(f"{px(mean.x)},{py(mean.y)}" for mean in one.means)
            out.append(f'<polyline class="mean"{dash} points="{places}"/>')
        bars = [(mean.x, *mean.interval) for mean in one.means if mean.interval is not None]
        ends = "".join(f"M{px(at)} {py(max(low, y.low))}V{py(min(high, y.high))}" for at, low, high in bars)
        out.append(f'<path class="bar" d="{ends}"/>' if bars else "")
        out.append(f'<g class="{"mark-hollow" if one.dashed else "mark-full"}">')
        for mean in one.means:
            shape = f"M{px(mean.x)} {py(mean.y)}{_SHAPES.get(one.symbol, _SHAPES['square'])}"
            out.append(f'<path d="{shape}"><title>{escape(mean.title)}</title></path>')
        out.append("</g>")
        out.append("</g>")
    return "".join(out)


def svg(inside: str, width: float, height: float, label: str, style: str = "") -> str:
    """One SVG element around what `panel` made; `label` is read out in its place.

    With a `style` of its own it stands alone, at its own size; without, it is as wide as its place, at most that size.
    """
    size = f'width="{width:g}" height="{height:g}"' if style else f'style="max-width:{width:g}px"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width:g} {height:g}" {size} role="img" '
        f'aria-label="{escape(label)}">{style}{inside}</svg>'
    )


def strip(items: Sequence[tuple[float, tuple[float, float], str, str]], low: float, high: float, width: float) -> str:
    """A row's intervals on an axis that its neighbours share: (value, interval, colour, title) each, one per line.

    Ends outside [low, high] are cut; the line stands at 0.
    """
    step = 7.0
    height = max(16.0, 4 + step * len(items))

    def px(value: float) -> str:
        return f"{3 + (min(max(value, low), high) - low) / (high - low) * (width - 6):.1f}"

    out = [f'<path class="rule" d="M{px(0.0)} 0V{height:g}"/>']
    for i, (value, (left, right), colour, title) in enumerate(items):
        y = height / 2 + step * (i - (len(items) - 1) / 2)
        out.append(
            f'<g class="ink" fill="{colour}" stroke="{colour}"><path class="bar" d="M{px(left)} {y:g}H{px(right)}"/>'
            f'<circle cx="{px(value)}" cy="{y:g}" r="2.7"><title>{escape(title)}</title></circle></g>'
        )
    return (
        f'<svg class="plot strip-plot" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'aria-hidden="true">{"".join(out)}</svg>'
    )


def span(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis of strips: the values and 0, with a little room."""
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def legend(series: Sequence[Series], width: float, top: float) -> tuple[str, float]:
    """A line for each series at `top`, in two columns, and how high they are."""
    out = []
    for i, one in enumerate(series):
        x, y = 8 + (i % 2) * width / 2, top + 18 * (i // 2) + 8
        kind = "mark-hollow" if one.dashed else "mark-full"
        mark = f'<path class="{kind}" d="M{x:g} {y - 4:g}{_SHAPES.get(one.symbol, _SHAPES["square"])}"/>'
        out.append(f'<g class="ink" fill="{one.colour}" stroke="{one.colour}">{mark}</g>')
        out.append(f'<text class="name" x="{x + 12:g}" y="{y:g}">{escape(one.name)}</text>')
    return "".join(out), 18.0 * ((len(series) + 1) // 2)


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))


def _around(n: int, start: float, radii: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Corners on circles, one after the other."""
    turn = 2 * math.pi / n
    sizes = [radii[i % len(radii)] for i in range(n)]
    return tuple((r * math.cos(start + turn * i), r * math.sin(start + turn * i)) for i, r in enumerate(sizes))


def _shape(corners: Sequence[tuple[float, float]]) -> str:
    """A closed path around the current point, in units of a marker's half size."""
    places = [(round(a * _MARK, 1), round(b * _MARK, 1)) for a, b in corners]
    steps = [(c - a, d - b) for (a, b), (c, d) in pairwise(places)]
    first = f"m{places[0][0]:g} {places[0][1]:g}"
    return first + "".join(f"l{a:.1f} {b:.1f}" for a, b in steps) + "z"


_CROSS = tuple((sx * a, sy * b) for sx, sy, ends in (
    (1, -1, ((0.4, 1.1), (0.4, 0.4), (1.1, 0.4))), (1, 1, ((1.1, 0.4), (0.4, 0.4), (0.4, 1.1))),
    (-1, 1, ((0.4, 1.1), (0.4, 0.4), (1.1, 0.4))), (-1, -1, ((1.1, 0.4), (0.4, 0.4), (0.4, 1.1))),
) for a, b in ends)  # fmt: skip
# Paths around the current point, by the names of the other reports' figures.
_SHAPES: dict[str, str] = {
    "circle": f"m{-_MARK} 0a{_MARK} {_MARK} 0 1 0 {2 * _MARK} 0a{_MARK} {_MARK} 0 1 0 {-2 * _MARK} 0z",
    "square": _shape(((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9))),
    "diamond": _shape(_around(4, 0.0, (1.25,))),
    "triangle-up": _shape(_around(3, -math.pi / 2, (1.3,))),
    "triangle-down": _shape(_around(3, math.pi / 2, (1.3,))),
    "cross": _shape(_CROSS),
    "hexagon": _shape(_around(6, 0.0, (1.15,))),
    "star": _shape(_around(10, -math.pi / 2, (1.4, 0.6))),
}

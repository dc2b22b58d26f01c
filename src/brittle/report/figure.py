"""What all figures share: short numbers, tinted colours, cut names, and intervals as error bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Figure = dict[str, Any]


def rounded(value: float, digits: int = 5) -> float:
    """The value with that many significant digits, to keep the page small."""
    return float(f"{value:.{digits}g}")


def tint(colour: str, alpha: float) -> str:
    """A colour "#rrggbb" made translucent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def short(name: str, limit: int = 14) -> str:
    """The end of a layer's name: in "features.stage3.block1.conv2" the last parts tell layers apart."""
    return name if len(name) <= limit else "…" + name[-(limit - 1) :]


def error_bars(values: Sequence[float], intervals: Sequence[tuple[float, float] | None], colour: str) -> Figure:
    """Intervals around values as plotly's error bars; None draws none."""
    pairs = list(zip(values, intervals, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if i is None else rounded(max(0.0, i[1] - v)) for v, i in pairs],
        "arrayminus": [0.0 if i is None else rounded(max(0.0, v - i[0])) for v, i in pairs],
        "color": colour,
        "thickness": 1.6,
        "width": 0,
    }


def thinned(n: int, limit: int) -> list[int]:
    """At most `limit` places out of n, evenly spaced, first and last kept."""
    return list(range(n)) if n <= limit else [round(i * (n - 1) / (limit - 1)) for i in range(limit)]

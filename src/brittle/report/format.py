"""How numbers look, in one place: the page, the terminal and JUnit all write them with these functions."""

from __future__ import annotations

from collections.abc import Sequence

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NORMS = {"linf": "ℓ∞", "l2": "ℓ₂", "l1": "ℓ₁"}
_SPELT = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
MISSING = "–"
STATUS_SIGNS = {"exact": "=", "upper_bound": "≤", "lower_bound": "≥", "estimate": "≈"}


def percent(fraction: float | None) -> str:
    """A fraction as a percentage, one decimal: 0.843 -> "84.3%". Never rounded to a perfect score or to none."""
    if fraction is None:
        return MISSING
    text = f"{100 * fraction:.1f}%"
    if text == "100.0%" and fraction < 1:
        return ">99.9%"
    if text == "0.0%" and fraction > 0:
        return "<0.1%"
    return text.replace("-", "−") if text != "-0.0%" else "0.0%"


def points(value: float | None) -> str:
    """Percentage points with a sign, one decimal: 3.24 -> "+3.2"; positive means that the model is worse."""
    if value is None:
        return MISSING
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def percent_interval(bounds: Sequence[float] | None) -> str:
    """An interval of fractions as percentages: "[82.0, 86.4]"."""
    if bounds is None:
        return MISSING
    return f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def points_interval(bounds: Sequence[float] | None) -> str:
    """An interval of percentage points: "[+1.1, +5.3]"."""
    return MISSING if bounds is None else f"[{points(bounds[0])}, {points(bounds[1])}]"


def number(value: float | None) -> str:
    """Three to four significant digits; powers of ten from 100,000 up and below 0.001: "1.23 × 10⁷"."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        size = abs(value)
        decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
        text = f"{value:,.{decimals}f}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}".replace("-", "−")


def logs(value: float | None) -> str:
    """A change of a logarithm with its sign, two decimals: "+0.69"."""
    if value is None:
        return MISSING
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def factor(value: float) -> str:
    """A multiplication: 1.824 -> "×1.82"."""
    return f"×{value:.2f}" if 0.01 <= value < 1000 else f"×{number(value)}"


def count(value: int) -> str:
    """An integer with thousands separated: 12345 -> "12,345"."""
    return f"{value:,}"


def seconds(value: float) -> str:
    """A duration: "0.04 s", "12 s", "2 min 10 s", "1 h 05 min"."""
    if value < 0.005:
        return "<0.01 s"
    if value < 10:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def norm(name: str) -> str:
    """The sign of a norm: "linf" -> "ℓ∞"."""
    return _NORMS.get(name, name)


def epsilon(value: float) -> str:
    """A radius in pixel units; multiples of 1/255 below 1/8 read as such: "8/255", otherwise "0.05"."""
    steps = value * 255
    if 0.5 <= steps < 32 and abs(steps - round(steps)) < 1e-6:
        return f"{round(steps)}/255"
    return f"{value:.4g}"


def threat(norm_name: str, radius: float) -> str:
    """A threat: "ℓ∞ ε = 0.05"."""
    return f"{norm(norm_name)} ε = {epsilon(radius)}"


def shape(sizes: Sequence[int]) -> str:
    """A tensor's shape: "64 × 100"."""
    return " × ".join(str(size) for size in sizes)


def status(name: str) -> str:
    """A status in words: "upper_bound" -> "upper bound"."""
    return name.replace("_", " ")


def bounded(value: float | None, status_name: str) -> str:
    """A number behind the sign of its status: "≤ 12.3" for an upper bound of the truth, "= 12.3" for an exact one."""
    return MISSING if value is None else f"{STATUS_SIGNS.get(status_name, '?')} {number(value)}"


def plural(n: int, noun: str) -> str:
    """A count with its noun: (1, "net") -> "1 net", (3, "net") -> "3 nets"."""
    return f"{count(n)} {noun}" if n == 1 else f"{count(n)} {noun}s"


def spelt(n: int) -> str:
    """A small count as a word: 6 -> "six"; from 13 up as digits."""
    return _SPELT[n] if n < len(_SPELT) else count(n)

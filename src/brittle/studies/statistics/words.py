"""Numbers in words that a reader understands without the statistics."""

from __future__ import annotations


def change(label: str, unit: str, value: float, interval: tuple[float, float]) -> str:
    """ "12.3 points of robust accuracy are lost [10.1, 14.4]"; other units: "amplification rises by 0.31 nats [..]".

    The interval is that of the amount as said: negative ends are the other way round.
    """
    falls = value < 0
    low, high = (-interval[1], -interval[0]) if falls else interval
    if unit == "points":
        return f"{abs(value):.1f} points of {label} are {'lost' if falls else 'gained'} [{low:.1f}, {high:.1f}]"
    amount = f"{abs(value):.3g} {unit}".rstrip()
    return f"{label} {'falls' if falls else 'rises'} by {amount} [{low:.3g}, {high:.3g}]"


def p_words(p: float) -> str:
    """ "p = 0.013", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def count(n: int, noun: str) -> str:
    """ "1 seed", "5 seeds"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

"""What a child lost against its parent on the same samples, and whether that is more than is allowed."""

from __future__ import annotations

from collections.abc import Sequence

from brittle.results.audit import Audit
from brittle.results.compression import Drop, Gate

CLEAN = "clean"


def drops(child: Audit) -> tuple[Drop, ...]:
    """Drops of an audit that was compared with its base: clean first, then each radius; none without a comparison."""
    if child.comparison is None or not child.comparison.paired:
        return ()
    pairs = child.comparison.paired
    clean = Drop(CLEAN, 0.0, pairs[0].clean_drop_points, pairs[0].clean_interval95)
    return (clean, *(Drop(p.norm, p.epsilon, p.drop_points, p.interval95) for p in pairs))


def gate(found: Sequence[Drop], max_drop: float | None) -> Gate | None:
    """The gate's answer: it fails where the whole interval of a drop lies above `max_drop` points.

    None where there is no gate, or no drop was measured.
    """
    if max_drop is None or not found:
        return None
    why = tuple(_sentence(drop, max_drop) for drop in found if drop.interval95[0] > max_drop)
    return Gate(max_drop, not why, why)


def _sentence(drop: Drop, max_drop: float) -> str:
    where = "clean" if drop.norm == CLEAN else f"{drop.norm} {drop.epsilon:g}"
    low, high = drop.interval95
    return f"{where}: drop {drop.points:+.1f} points, 95 % interval [{low:.1f}, {high:.1f}], above {max_drop:g} points"

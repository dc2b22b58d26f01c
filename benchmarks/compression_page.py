"""The page of the compression table, from its committed rows: writes docs/results/compression.md.

    python -m benchmarks.compression_page

Under the page's own text: a table for each parent and size, and the marks that the table was made to meet, each with
its number. Differences are paired over the same test images; at several seeds the mean over seeds, with an interval
over seeds and images. Rows that are missing are said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.compression import OUT, done
from benchmarks.compression_parents import PARENTS
from benchmarks.compression_rows import METHODS, Row, rows
from numpy.typing import NDArray

from brittle.evaluation.intervals import paired_drop_interval, two_level_interval, wilson
from brittle.files import replacing

PAGE = OUT.parent / "compression.md"
MARK = "<!-- tables -->"
IMAGES = 10_000
Masks = dict[str, NDArray[np.bool_]]


def masks(row: Row) -> Masks:
    """Which test images are right, clean and at each radius."""
    with np.load(OUT / f"{row.key}.npz") as kept:
        return {name: np.unpackbits(kept[name], count=IMAGES).astype(bool) for name in kept.files}


class Table:
    """The rows there are."""

    def __init__(self) -> None:
        there = done()
        self.lines = there
        self.rows = [r for r in rows() if (r.parent, r.method, str(r.factor), str(r.seed)) in there]
        self.missing = len(rows()) - len(self.rows)

    def seeds(self, parent: str, method: str, factor: int) -> list[Masks]:
        """Masks of one method, seed by seed."""
        return [masks(r) for r in self.rows if (r.parent, r.method, r.factor) == (parent, method, factor)]

    def size(self, parent: str, method: str, factor: int) -> int:
        found = [r for r in self.rows if (r.parent, r.method, r.factor) == (parent, method, factor)]
        return int(self.lines[(parent, method, str(factor), str(found[0].seed))]["parameters"])


def mean(found: Sequence[Masks], column: str) -> float:
    return 100 * float(np.mean([m[column].mean() for m in found]))


def shown(found: Sequence[Masks], column: str) -> str:
    """A mean in per cent: with Wilson's interval for one seed, with the range over several."""
    shares = [100 * float(m[column].mean()) for m in found]
    if len(shares) > 1:
        return f"{np.mean(shares):.1f} ({min(shares):.1f} to {max(shares):.1f})"
    low, high = wilson(int(found[0][column].sum()), IMAGES)
    return f"{shares[0]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def lead(ours: Sequence[Masks], other: Sequence[Masks], column: str) -> tuple[float, float, float]:
    """Points by which ours is ahead, with the paired 95 % interval (same seeds on both sides)."""
    pairs = list(zip(ours, other, strict=False))
    if len(pairs) == 1:
        low, high = paired_drop_interval(pairs[0][0][column], pairs[0][1][column], seed=0)
    else:
        both = [np.stack([side[column] for side in sides]) for sides in zip(*pairs, strict=True)]
        low, high = two_level_interval(both[0], both[1], seed=0)
    ahead = float(np.mean([a[column].mean() - b[column].mean() for a, b in pairs]))
    return 100 * ahead, low, high


def section(table: Table, parent: str, factor: int) -> list[str]:
    columns = ["clean", *(f"{r}/255" for r in PARENTS[parent].radii)]
    found = {m: table.seeds(parent, m, factor) for m in METHODS}
    found = {m: f for m, f in found.items() if f}
    if not found:
        return []
    seeds = max(len(f) for f in found.values())
    lines = ["", f"### {factor}x fewer parameters" + (f", {seeds} seeds" if seeds > 1 else ""), ""]
    lines += [f"| Method | Parameters | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    lines += [
        f"| {method} | {table.size(parent, method, factor):,} | {' | '.join(shown(f, c) for c in columns)} |"
        for method, f in found.items()
    ]
    if "ours" in found and len(found) > 1:
        lines += ["", *(f"* {line}" for line in _leads(table, parent, found, columns))]
    return lines


def _leads(table: Table, parent: str, found: dict[str, list[Masks]], columns: list[str]) -> list[str]:
    ours = found["ours"]
    top = table.seeds(parent, "parent", 1)
    answer = []
    for column in columns[1:]:
        best = max((m for m in found if m != "ours"), key=lambda m: mean(found[m], column))
        points, low, high = lead(ours, found[best], column)
        clean = mean(ours, "clean") - mean(found[best], "clean")
        line = (
            f"{column}: ours {points:+.1f} [{low:+.1f}, {high:+.1f}] against the best rival, {best}; clean {clean:+.1f}"
        )
        seeds = min(len(ours), len(found[best]))
        line += f" (at {seeds} {'seed' if seeds == 1 else 'seeds'})"
        gap = mean(top, column) - mean(found[best], column) if top else 0.0
        if parent != "A" and gap > 0:
            line += f"; {100 * points / gap:.0f} % of the {gap:.1f} points between it and the parent"
        answer.append(line + ".")
    if parent == "A" and "svd" in found:
        points, low, high = lead(ours, found["svd"], "8/255")
        answer.append(f"8/255: ours {points:+.1f} [{low:+.1f}, {high:+.1f}] against svd.")
    return answer


def page() -> list[str]:
    """The lines under the page's own text."""
    table = Table()
    lines = [] if not table.missing else ["", f"**{table.missing} of {len(rows())} rows are still to be run.**"]
    for parent, settings in PARENTS.items():
        top = table.seeds(parent, "parent", 1)
        if not top:
            continue
        columns = ["clean", *(f"{r}/255" for r in PARENTS[parent].radii)]
        lines += ["", f"## {settings.title}", "", "; ".join(f"{c} {shown(top, c)} %" for c in columns) + "."]
        for factor in (4, 8, 16):
            lines += section(table, parent, factor)
    return lines


def main() -> None:
    """See the top of the file."""
    text = PAGE.read_text(encoding="utf-8")
    kept = text[: text.index(MARK)] + MARK
    with replacing(PAGE) as temporary:
        Path(temporary).write_text("\n".join([kept, *page(), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()

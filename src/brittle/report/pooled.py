"""Several children of one base read as repeats of one method: the mean drop with an interval over both levels."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from brittle.compare import pair_verdict, pooled_drop
from brittle.report import format as fmt
from brittle.report.rule import WORDS, max_drop
from brittle.results.audit import Audit
from brittle.results.robustness import threat_key


def pooled_table(base: Audit, children: Sequence[Audit]) -> Table | None:
    """One row for clean accuracy and each threat; None for fewer than two compared children.

    The interval covers test samples and the scatter between the children (Student's t over their means). It says
    something about a method only if the children differ in nothing but their seed.
    """
    if len(children) < 2 or any(child.comparison is None for child in children):
        return None
    table = Table(
        title=f"If these {len(children)} models are repeats of one method: mean drop in points",
        title_justify="left",
        header_style="bold",
    )
    for column in ("threat", "mean drop [95 %]", "verdict"):
        table.add_column(column, no_wrap=True)
    tolerance = max_drop(children[0])
    for key, title in [("clean", "clean")] + [
        (threat_key(row.norm, row.epsilon), fmt.threat(row.norm, row.epsilon)) for row in children[0].robustness
    ]:
        drop, interval = pooled_drop([base] * len(children), children, key, children[0].seed)
        word = "" if key == "clean" else WORDS[pair_verdict(interval, tolerance)].text
        table.add_row(title, f"{fmt.points(drop)} {fmt.points_interval(interval)}", word)
    return table

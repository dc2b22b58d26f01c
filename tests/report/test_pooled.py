"""Children pooled as repeats of one method."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from brittle.compare import outcomes
from brittle.report.pooled import pooled_table
from tests.made_audits import made_audit, made_children


def _text(table: object) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    return out.getvalue()


def test_the_mean_drop_over_children_is_shown_for_every_threat() -> None:
    base, children = made_audit("original"), made_children()
    table = pooled_table(base, children)
    assert table is not None
    assert table.row_count == 1 + len(children[0].robustness)
    text = _text(table)
    assert f"{len(children)} models are repeats" in text
    before = outcomes(base, "clean").mean()
    drop = 100 * np.mean([before - outcomes(child, "clean").mean() for child in children])
    assert f"{drop:+.1f}".replace("-", "−") in text.replace("-", "−")


def test_one_child_or_a_profile_is_nothing_to_pool() -> None:
    base, children = made_audit("original"), made_children()
    assert pooled_table(base, children[:1]) is None
    assert pooled_table(base, [children[0], base]) is None

"""Progress: bars on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from brittle.cli import progress
from brittle.cli.progress import progress_display


def test_elsewhere_a_stage_has_one_line_and_a_remark_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 30.0, 31.0, 32.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=80)
    with progress_display(console) as tell:
        tell("forecast: about 3 s [of attacks]", 0, 0)
        tell("pgd", 1, 4)
        tell("pgd", 2, 4)  # too soon
        tell("pgd", 3, 4)  # long enough after
        tell("apgd", 1, 4)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "forecast: about 3 s [of attacks]",
        "pgd: 1 of 4",
        "pgd: 3 of 4",
        "apgd: 1 of 4",
    ]


def test_on_a_terminal_there_is_a_bar_that_leaves_no_trace_but_remarks() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)
    with progress_display(console) as tell:
        tell("forecast: about 3 s [of attacks]", 0, 0)
        for done in range(1, 5):
            tell("pgd [x]", done, 4)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "forecast: about 3 s [of attacks]" in shown
    assert "pgd [x]" in shown
    assert "4/4" in shown

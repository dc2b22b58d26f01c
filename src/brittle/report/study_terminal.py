"""A study on the terminal: one line for each claim."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brittle.report.study_rows import claim_rows
from brittle.report.study_summary import measurement_table
from brittle.report.study_words import headline, incomplete
from brittle.results.study import StudyResult

_STYLES = {"robust": "bold green", "brittle": "bold red", "undecided": "bold yellow", "profile": "bold"}


def study_table(result: StudyResult) -> Group:
    """Everything the command line shows of a study, to be printed by a rich console."""
    parts: list[RenderableType] = [Text(headline(result), style="bold")]
    missing = incomplete(result)
    if missing:
        parts.append(Text(missing.replace("`", ""), style="yellow"))
    return Group(*parts, Text(), _claims(result) if result.claims else _measurements(result))


def _claims(result: StudyResult) -> Table:
    table = _table("claim", "", "verdict", "effect, first outcome", "p, Holm", "cells")
    for row in claim_rows(result):
        verdict = Text(f"{row.word.sign} {row.word.text}", style=_STYLES[row.word.css])
        table.add_row(Text(row.claim), Text(row.title), verdict, Text(row.effect), Text(row.p), Text(row.seen))
    return table


def _measurements(result: StudyResult) -> Table:
    shown = measurement_table(result)
    table = _table("trials", "seeds", *shown.headings)
    for name, seeds, cells in shown.rows:
        table.add_row(Text(name), Text(str(seeds)), *map(Text, cells))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("verdict", "p, Holm", "cells", "claim"))
    return table

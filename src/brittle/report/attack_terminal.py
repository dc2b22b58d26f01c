"""The result of `brittle attack` on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brittle.report import format as fmt
from brittle.report.attack_rows import AttackTable, attack_tables
from brittle.results.attack import AttackResult

_FINDING_STYLES = {"warning": "yellow", "problem": "bold red"}


def attack_table(result: AttackResult) -> Group:
    """Everything the command line shows of one attack, to be printed by a rich console."""
    parts: list[RenderableType] = [
        Text(f"{result.model.name} on {result.data.name}, {fmt.plural(result.data.samples, 'test sample')}")
    ]
    if result.partial:
        parts.append(Text("Stopped at the time limit: the results are partial.", style="yellow"))
    parts += [_table(table) for table in attack_tables(result)]
    parts += [
        Text(f"{check.verdict}: {check.check}. {check.advice}", style=_FINDING_STYLES[check.verdict])
        for check in result.preflight
        if check.verdict in _FINDING_STYLES
    ]
    return Group(*parts)


def _table(shown: AttackTable) -> Table:
    table = Table(title=shown.title, title_justify="left", box=None, pad_edge=False, min_width=len(shown.title))
    for heading in ("", *shown.headings):
        table.add_column(heading, overflow="fold")
    for i, row in enumerate(shown.rows):
        table.add_row(*row[:-1], Text(row[-1], style="bold" if i in shown.bold else ""))
    return table

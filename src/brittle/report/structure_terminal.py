"""A structure audit on the terminal: the most compressible matrices, or the largest changes from the base."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brittle.report import format as fmt
from brittle.report.structure_rows import (
    CHANGE_HEADINGS,
    COLUMNS,
    Cell,
    change_rows,
    rank_share,
    structure_headline,
)
from brittle.report.structure_unmeasured import unmeasured_groups
from brittle.results.structure import StructureAudit

_ROWS = 12
# The others stand on the page: names are long, terminals narrow.
_COLUMNS = ("matrix", "shape", "eff. rank", "residual σ", "residual ν", "‖W‖_F")
NO_VERDICT = "Structure alone: nothing ran and nothing was attacked, so this says nothing about robustness."


def structure_table(audit: StructureAudit) -> Group:
    """Everything the command line shows, to be printed by a rich console."""
    parts: list[RenderableType] = [Text(structure_headline(audit), style="bold"), Text(NO_VERDICT, style="dim")]
    if audit.comparison is not None:
        parts += [Text(), _changes(audit)]
    if audit.matrices:
        parts += [Text(), _matrices(audit)]
    for group in unmeasured_groups(audit.unmeasured):
        parts.append(Text(f"Not measured: {fmt.plural(group.count, 'tensor')} ({group.why}).", style="dim"))
    return Group(*parts)


def _matrices(audit: StructureAudit) -> Table:
    rows = sorted(audit.matrices, key=lambda row: rank_share(row).value)[:_ROWS]
    more = len(audit.matrices) - len(rows)
    title = "Lowest effective rank for their size" + (f" ({fmt.count(more)} more in the report)" if more else "")
    columns = [column for column in COLUMNS if column.label in _COLUMNS]
    table = _table(title, [column.label for column in columns])
    for row in rows:
        table.add_row(*(Text(_text(column.cell(row))) for column in columns))
    return table


def _changes(audit: StructureAudit) -> Table:
    assert audit.comparison is not None
    rows = change_rows(audit)
    more = len(rows) - len(rows[:_ROWS])
    title = f"Largest changes from {audit.comparison.base.name}"
    table = _table(title + (f" ({fmt.count(more)} more in the report)" if more else ""), ["matrix", *_HEADINGS])
    for name, cells in rows[:_ROWS]:
        table.add_row(Text(name), *(Text(_text(cell)) for cell in cells))
    return table


_HEADINGS = [label for label, _ in CHANGE_HEADINGS]


def _text(cell: Cell) -> str:
    return f"{cell.text}\n{cell.interval}" if cell.interval else cell.text


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i > 1 else "left", overflow="fold", no_wrap=i > 0)
    return table

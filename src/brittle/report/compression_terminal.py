"""A compression on the terminal: the outcome, sizes, accuracies, and what to watch."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brittle.report.compression_rows import front_rows, score_rows, size_rows, threat_titles
from brittle.report.compression_words import compression_headline, gate_word, recovery_sentence, verdict_word
from brittle.report.tables import verdict_text
from brittle.results.compression import CompressionResult


def compression_table(result: CompressionResult) -> Group:
    """Everything the command line shows of one compression, to be printed by a rich console."""
    parts: list[RenderableType] = [Text(compression_headline(result), style="bold")]
    word, gate = verdict_word(result), gate_word(result)
    if word is not None:
        parts.append(Text("audit against the parent: ").append_text(verdict_text(word)))
    if gate is not None:
        parts.append(verdict_text(gate))
    if result.partial:
        parts.append(Text("Stopped at the time limit: the results are partial.", style="yellow"))
    parts += [Text(recovery_sentence(result)), Text(), _sizes(result)]
    if score_rows(result):
        parts += [Text(), _scores(result)]
    if len(result.front) > 2:
        parts += [Text(), _front(result)]
    parts += [Text(f"note: {note}", style="dim") for note in result.notes]
    return Group(*parts)


def _sizes(result: CompressionResult) -> Table:
    table = _table("Sizes", "parent", "compressed", "smaller")
    for row in size_rows(result):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _scores(result: CompressionResult) -> Table:
    table = _table("Accuracy [95%]", "clean", *threat_titles(result))
    for name, cells in score_rows(result):
        table.add_row(Text(name), *(Text(f"{value} {interval}".strip()) for value, interval in cells))
    return table


def _front(result: CompressionResult) -> Table:
    headings = ("method", "parameters", "share", "clean", *threat_titles(result), "front", "file")
    table = _table("Size against accuracy (★: no network shown is as small and as accurate)", *headings)
    for name, cells in front_rows(result):
        table.add_row(Text(name), *(Text(cell) for cell in cells))
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table

"""The structure report: one offline page on a checkpoint, with the audit page's styles and script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from brittle.files import write_text
from brittle.report import format as fmt
from brittle.report.embed import json_for_script, prose, static
from brittle.report.structure_plots import QUANTITIES, kinds, structure_figures
from brittle.report.structure_rows import (
    CHANGE_HEADINGS,
    COLUMNS,
    change_rows,
    facts,
    is_unchanged,
    noted,
    reproduce_rows,
    shown_rows,
    structure_headline,
)
from brittle.report.structure_unmeasured import unmeasured_groups
from brittle.results.structure import StructureAudit

# Name of the section, what the navigation calls it.
_SECTIONS = (
    ("outcome", "Outcome"),
    ("changes", "Changes"),
    ("depth", "Depth"),
    ("matrices", "Matrices"),
    ("limits", "Not measured"),
    ("reproduce", "Reproduce"),
)


def render_structure(audit: StructureAudit, *, title: str) -> str:
    """The page of one structure audit as one HTML file that loads nothing; `title` is plain text."""
    environment = Environment(
        loader=PackageLoader("brittle.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = prose
    return environment.get_template("structure.html.j2").render(
        **_context(audit),
        title=title,
        css=static("report.css"),
        plotly=static("plotly-cartesian.min.js"),
        script=static("report.js"),
    )


def write_structure_html(path: str | Path, audit: StructureAudit, *, title: str) -> Path:
    """`render_structure` into a file, whole or not at all.

    Raises:
        UsageError: a file that cannot be written.
    """
    return write_text(path, render_structure(audit, title=title))


def _context(audit: StructureAudit) -> dict[str, Any]:
    shown, left_out = kinds(audit.matrices)
    rows = shown_rows(audit)
    empty = {
        name
        for name, missing in (("changes", audit.comparison is None), ("depth", not shown), ("matrices", not rows))
        if missing
    }
    sections = [section for section in _SECTIONS if section[0] not in empty]
    return {
        "fmt": fmt,
        "audit": audit,
        "sections": [(name, label, i) for i, (name, label) in enumerate(sections, start=1)],
        "number": {name: i for i, (name, _) in enumerate(sections, start=1)},
        "headline": structure_headline(audit),
        "facts": facts(audit),
        "changes": change_rows(audit),
        "unchanged": 0 if audit.comparison is None else sum(map(is_unchanged, audit.comparison.changes)),
        "change_headings": CHANGE_HEADINGS,
        "kinds": [kind.line for kind in shown],
        "kinds_left_out": left_out,
        "quantity_options": [(drawn.key, drawn.label) for drawn in QUANTITIES],
        "columns": COLUMNS,
        "rows": rows,
        "notes": noted(audit.matrices),
        "unmeasured": unmeasured_groups(audit.unmeasured),
        "reproduce": reproduce_rows(audit),
        "page_data": json_for_script({"nets": [], "figures": structure_figures(shown), "curves": []}),
    }

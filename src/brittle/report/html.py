"""One self-contained page: styles, scripts, figures and images are inside, nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from brittle.errors import UsageError
from brittle.files import write_text
from brittle.report.embed import json_for_script, prose, static
from brittle.report.page import context
from brittle.results.audit import Audit


def render_html(audits: Sequence[Audit], *, title: str, intro: str | None = None) -> str:
    """The report on one or more audits (children of one base, or one audit alone) as one HTML file.

    `title` and `intro` are plain text; a blank line in `intro` starts a new paragraph. The page holds all it needs and
    forbids itself every network request (Content-Security-Policy). Curves and images are thinned to keep it small.

    Raises:
        UsageError: no audits were given.
    """
    if not audits:
        raise UsageError("a report needs at least one audit, got none; pass the audits to show")
    environment = Environment(
        loader=PackageLoader("brittle.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = prose
    values = context(audits)
    paragraphs = [part.strip() for part in (intro or "").split("\n\n") if part.strip()]
    return environment.get_template("report.html.j2").render(
        **{**values, "page_data": json_for_script(values["page_data"])},
        title=title,
        intro=paragraphs,
        css=static("report.css"),
        plotly=static("plotly-cartesian.min.js"),
        script=static("report.js"),
    )


def write_html(path: str | Path, audits: Sequence[Audit], *, title: str, intro: str | None = None) -> Path:
    """`render_html` into a file, whole or not at all.

    Raises:
        UsageError: no audits were given, or the target's folder does not exist or cannot be written.
    """
    return write_text(path, render_html(audits, title=title, intro=intro))

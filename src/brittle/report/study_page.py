"""The report of a study: one offline page, an overview of the claims first, then a section for each."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from brittle.files import write_text
from brittle.report import format as fmt
from brittle.report.embed import json_for_script, prose, static
from brittle.report.study_cells import drawn_cells, level_means, outcomes_of
from brittle.report.study_figures import claim_figures
from brittle.report.study_rows import SHORT_KEY, cell_columns, cell_rows, claim_rows, point_data, run_rows
from brittle.report.study_summary import measurement_table
from brittle.report.study_words import VERDICTS, headline, incomplete, said, signs
from brittle.results.study import ClaimVerdict, StudyResult
from brittle.studies.export import csv_text

# A claim's table with more rows than this shows its controls only when they are asked for.
_MANY = 8
# A table of all trials up to this many characters is embedded as it is, a longer one compressed.
_PLAIN = 300_000


def render_study(result: StudyResult, *, title: str) -> str:
    """The page of a study as one HTML file that loads nothing; `title` is plain text."""
    environment = Environment(
        loader=PackageLoader("brittle.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = lambda text: prose(signs(text))
    return environment.get_template("study.html.j2").render(
        **_context(result),
        title=title,
        css=static("report.css"),
        study_css=static("study.css"),
        script=static("study.js"),
    )


def write_study_html(path: str | Path, result: StudyResult, *, title: str) -> Path:
    """`render_study` into a file, whole or not at all.

    Raises:
        UsageError: a file that cannot be written.
    """
    return write_text(path, render_study(result, title=title))


def _context(result: StudyResult) -> dict[str, Any]:
    href, name = _download(result)
    return {
        "fmt": fmt,
        "result": result,
        "headline": headline(result),
        "incomplete": incomplete(result),
        "facts": _facts(result),
        "verdicts": VERDICTS,
        "rows": claim_rows(result),
        "claims": [_claim(claim, result) for claim in result.claims],
        "measurements": None if result.claims else measurement_table(result),
        "csv_href": href,
        "csv_name": name,
        "short_key": SHORT_KEY,
        "page_data": json_for_script(point_data(result)),
    }


def _claim(claim: ClaimVerdict, result: StudyResult) -> dict[str, Any]:
    """What a claim's section shows."""
    figures, rows = claim_figures(claim), cell_rows(claim)
    apart = len(rows) > _MANY
    return {
        "claim": claim,
        "word": VERDICTS[claim.outcome],
        "said": said(claim),
        "asks": claim.question if claim.question != claim.title else "",
        "figures": figures,
        "options": [(figure.outcome, figure.label) for figure in figures],
        "drawn": [one for one in drawn_cells(claim) if any(level_means(one.cell, name) for name in outcomes_of(claim))],
        "columns": cell_columns(claim),
        "cells": [row for row in rows if not (apart and row.drawn.control)],
        "controls": [row for row in rows if apart and row.drawn.control],
        "run": run_rows(claim, result),
    }


def _facts(result: StudyResult) -> list[tuple[str, str, str]]:
    """(label, value, detail) of the few numbers on top."""
    asked = len(result.trials) + result.missing + result.failed
    done = f"of {fmt.count(asked)} asked for" if asked > len(result.trials) else "all that were asked for"
    cpu = sum(row.seconds for row in result.trials)
    seeds = {row.config["seed"] for row in result.trials if "seed" in row.config}
    cells = sum(cell.counts for claim in result.claims for cell in claim.cells)
    facts = [
        ("trials", fmt.count(len(result.trials)), done),
        ("time of one process", fmt.seconds(cpu), "training and measuring, all trials together"),
        ("seeds", str(len(seeds)), "each network is trained anew from each of them"),
    ]
    if result.claims:
        facts.append(("cells", str(cells), "a source on a task; each is judged alone and with its claim"))
    return facts


def _download(result: StudyResult) -> tuple[Markup, str]:
    """A link's target that holds all trials as CSV, and the file's name."""
    text = csv_text(result.trials)
    if len(text) <= _PLAIN:
        data, kind, name = text.encode(), "text/csv;charset=utf-8", "trials.csv"
    else:
        data, kind, name = gzip.compress(text.encode(), 9, mtime=0), "application/gzip", "trials.csv.gz"
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}"), name

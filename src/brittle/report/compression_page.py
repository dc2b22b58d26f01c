"""The compression report: one offline page on one compression, with the audit page's styles and script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from brittle.files import write_text
from brittle.report import format as fmt
from brittle.report.compression_plots import front_figures, front_lines
from brittle.report.compression_rows import (
    asked_rows,
    front_rows,
    layer_rows,
    measured,
    prediction_rows,
    reproduce_rows,
    score_rows,
    size_rows,
    threat_titles,
)
from brittle.report.compression_words import (
    compression_headline,
    facts,
    gate_word,
    recovery_sentence,
    verdict_word,
)
from brittle.report.embed import json_for_script, prose, static
from brittle.results.compression import CompressionResult

# Name of the section, what the navigation calls it.
_SECTIONS = (
    ("outcome", "Outcome"),
    ("sizes", "Sizes"),
    ("accuracy", "Accuracy"),
    ("front", "Front"),
    ("layers", "Layers"),
    ("prediction", "Prediction"),
    ("notes", "Notes"),
    ("reproduce", "Reproduce"),
)


def render_compression(result: CompressionResult, *, title: str) -> str:
    """The page of one compression as one HTML file that loads nothing; `title` is plain text."""
    environment = Environment(
        loader=PackageLoader("brittle.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = prose
    return environment.get_template("compression.html.j2").render(
        **_context(result),
        title=title,
        css=static("report.css"),
        plotly=static("plotly-cartesian.min.js"),
        script=static("report.js"),
    )


def write_compression_html(path: str | Path, result: CompressionResult, *, title: str) -> Path:
    """`render_compression` into a file, whole or not at all.

    Raises:
        UsageError: a file that cannot be written.
    """
    return write_text(path, render_compression(result, title=title))


def _context(result: CompressionResult) -> dict[str, Any]:
    lines = front_lines(result)
    empty = {
        name
        for name, there in (
            ("front", lines),
            ("prediction", result.prediction),
            ("notes", result.notes),
            ("accuracy", result.after or result.parent_scores),
        )
        if not there
    }
    sections = [section for section in _SECTIONS if section[0] not in empty]
    return {
        "fmt": fmt,
        "result": result,
        "sections": [(name, label, i) for i, (name, label) in enumerate(sections, start=1)],
        "number": {name: i for i, (name, _) in enumerate(sections, start=1)},
        "headline": compression_headline(result),
        "gate": gate_word(result),
        "verdict": verdict_word(result),
        "facts": facts(result),
        "sizes": size_rows(result),
        "scores": score_rows(result),
        "titles": threat_titles(result),
        "recovery": recovery_sentence(result),
        "lines": lines,
        "threat_options": [(str(i), title) for i, title in enumerate(threat_titles(result))],
        "front_rows": front_rows(result),
        "layer_rows": layer_rows(result),
        "predictions": prediction_rows(result),
        "asked": asked_rows(result),
        "reproduce": reproduce_rows(result),
        "page_data": json_for_script({"nets": [], "figures": front_figures(result, measured(result)), "curves": []}),
    }

"""The training report: one offline page on one run, with the audit page's styles and script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from brittle.errors import UsageError
from brittle.files import write_text
from brittle.report import format as fmt
from brittle.report.embed import json_for_script, prose, static
from brittle.report.training_lines import (
    QUANTITIES,
    attack_lines,
    clean_line,
    layer_lines,
    looks,
    loss_lines,
    product_lines,
)
from brittle.report.training_plots import training_figures
from brittle.report.training_rows import (
    epoch_rows,
    facts,
    layer_rows,
    plan_rows,
    reproduce_rows,
    training_headline,
)
from brittle.results.training import TrainingHistory

# Name of the section, what the navigation calls it.
_SECTIONS = (
    ("outcome", "Outcome"),
    ("course", "Course"),
    ("layers", "Structure"),
    ("epochs", "Epochs"),
    ("reproduce", "Reproduce"),
)


def render_training(history: TrainingHistory, *, title: str, data: str, command: str) -> str:
    """The page of one run as one HTML file that loads nothing.

    `title`, `data` (the data set's name) and `command` (as typed; empty for a run from Python) are plain text.

    Raises:
        UsageError: a history without a finished epoch.
    """
    if not history.rows:
        raise UsageError("a training report needs at least one finished epoch, got none")
    environment = Environment(
        loader=PackageLoader("brittle.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = prose
    return environment.get_template("training.html.j2").render(
        **_context(history, data),
        title=title,
        command=command,
        css=static("report.css"),
        plotly=static("plotly-cartesian.min.js"),
        script=static("report.js"),
    )


def write_training_html(path: str | Path, history: TrainingHistory, *, title: str, data: str, command: str) -> Path:
    """`render_training` into a file, whole or not at all.

    Raises:
        UsageError: as `render_training`, or a file that cannot be written.
    """
    return write_text(path, render_training(history, title=title, data=data, command=command))


def _context(history: TrainingHistory, data: str) -> dict[str, Any]:
    seen = looks(history)
    figures = training_figures(history, seen)
    drawn = any(tracked.layers for _, tracked in seen)
    sections = [section for section in _SECTIONS if section[0] != "layers" or drawn]
    return {
        "fmt": fmt,
        "history": history,
        "data": data,
        "sections": [(name, label, i) for i, (name, label) in enumerate(sections, start=1)],
        "number": {name: i for i, (name, _) in enumerate(sections, start=1)},
        "headline": training_headline(history),
        "facts": facts(history, seen),
        "tracked": seen[-1][1] if seen else None,
        "looks": len(seen),
        "accuracy_lines": (clean_line("clean, whole validation split"), *attack_lines(seen).values()),
        "loss_lines": loss_lines(),
        "penalties": [name.removeprefix("penalty-") for name in figures if name.startswith("penalty-")],
        "layers": layer_lines(seen),
        "quantities": QUANTITIES,
        "quantity_options": [(quantity.key, quantity.label) for quantity in QUANTITIES],
        "layer_rows": layer_rows(seen),
        "product": product_lines(seen) if "product" in figures else (),
        "epoch_rows": epoch_rows(history),
        "plan": plan_rows(history),
        "reproduce": reproduce_rows(history, data),
        "page_data": json_for_script({"nets": [], "figures": figures, "curves": []}),
    }

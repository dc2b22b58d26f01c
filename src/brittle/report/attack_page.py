"""The attack report: one offline page on what attacks did to one model."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from brittle.files import write_text
from brittle.report import format as fmt
from brittle.report.attack_rows import attack_tables
from brittle.report.embed import prose, static
from brittle.report.pictures import within_budget
from brittle.report.recipe_words import recipe_words
from brittle.results.attack import AttackResult
from brittle.results.perturbations import Universal

# Pictures of universal perturbations, all together.
_MAX_CHARACTERS = 200_000
# What the navigation calls each table.
_LABELS = {
    "attempts": "At a radius",
    "radii": "Radii",
    "universal": "Universal",
    "explained": "Directions",
    "transfer": "Transfer",
}


def render_attack(result: AttackResult, *, title: str) -> str:
    """The page of one `brittle attack` as one HTML file that loads nothing; `title` is plain text."""
    environment = Environment(
        loader=PackageLoader("brittle.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = prose
    tables = attack_tables(result)
    shown = [(table.name, _LABELS[table.name]) for table in tables]
    names = [("outcome", "Outcome"), *shown, ("reproduce", "Reproduce")]
    return environment.get_template("attack.html.j2").render(
        fmt=fmt,
        result=result,
        title=title,
        tables=tables,
        sections=[(name, label, i) for i, (name, label) in enumerate(names, start=1)],
        number={name: i for i, (name, _) in enumerate(names, start=1)},
        headline=attack_headline(result),
        pictures=_pictures(result),
        findings=[check for check in result.preflight if check.verdict != "ok"],
        reproduce=reproduce_rows(result),
        css=static("report.css"),
    )


def write_attack_html(path: str | Path, result: AttackResult, *, title: str) -> Path:
    """`render_attack` into a file, whole or not at all.

    Raises:
        UsageError: a file that cannot be written.
    """
    return write_text(path, render_attack(result, title=title))


def attack_headline(result: AttackResult) -> str:
    """What the attacks left, in one sentence."""
    if result.attempts:
        clean = fmt.percent(result.attempts[0].clean)
        left = [f"{fmt.percent(row.attacked)} at {fmt.threat(row.norm, row.epsilon)}" for row in result.attempts]
        return f"Of {clean} clean accuracy at most {', '.join(left)} is left under attack"
    return f"{fmt.plural(len(result.attacks), 'attack')} on {result.model.name}"


def reproduce_rows(result: AttackResult) -> list[tuple[str, str]]:
    """(label, value) of all that is needed to run the attacks again."""
    s = result.settings
    return [
        ("attacks", ", ".join(result.attacks)),
        ("data", f"{result.data.name}, {result.data.split}, {fmt.count(result.data.samples)} samples"),
        ("data sha256", result.data.sha256),
        ("recipe", recipe_words(result.model.recipe, fmt.MISSING)),
        ("parameters", fmt.count(result.model.parameters)),
        ("seed", str(result.seed)),
        ("device, precision", f"{s.device}, {s.dtype}, batches of {s.batch_size}"),
        ("brittle, torch", f"{result.brittle}, {s.torch}"),
        ("time", fmt.seconds(s.seconds)),
    ]


def _pictures(result: AttackResult) -> list[tuple[str, str]]:
    """(threat, data URI) of universal perturbations, as many as the page's budget holds."""
    kept, _ = within_budget([row.png for row in result.universal], _MAX_CHARACTERS)
    return [(_pictured(row), png) for row, png in zip(result.universal, kept, strict=True) if png is not None]


def _pictured(row: Universal) -> str:
    target = "" if row.target is None else f" to {row.target}"
    return f"{fmt.threat(row.norm, row.epsilon)}{target}, {row.method}"

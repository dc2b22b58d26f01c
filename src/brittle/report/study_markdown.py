"""A study as a page of the documentation: an overview, each claim with one figure, the command that made it."""

from __future__ import annotations

from pathlib import Path

from brittle.files import make_folder, write_text
from brittle.report import format as fmt
from brittle.report.study_cells import level_means, outcomes_of
from brittle.report.study_figures import standalone_svg
from brittle.report.study_rows import claim_rows, run_rows
from brittle.report.study_words import cell_name, cell_word, effect_text, headline, incomplete, label, signs
from brittle.results.study import ClaimVerdict, StudyResult

# In a table's cell this would end it.
_CELL = str.maketrans({"|": "\\|", "\n": " "})


def render_study_markdown(result: StudyResult, figures: str = "") -> str:
    """The page; `figures` is the folder of its pictures as a link from the page, "" for none."""
    asked = len(result.trials) + result.missing + result.failed
    lines = [f"# {result.question if not result.preset else _title(result)}", ""]
    if result.preset:
        lines += [result.question, ""]
    lines += [
        f"**{headline(result)}.** {fmt.count(len(result.trials))} of {fmt.count(asked)} trials were run, "
        f"{fmt.seconds(result.seconds)} of one process."
    ]
    if incomplete(result):
        lines.append(signs(incomplete(result)))
    if result.command:
        lines += ["", "```bash", result.command, "```"]
    lines += ["", *_overview(result)]
    for claim in result.claims:
        lines += ["", *_section(claim, result, figures)]
    return "\n".join(lines) + "\n"


def write_study_markdown(path: str | Path, result: StudyResult) -> Path:
    """The page at `path`, and one SVG for each claim in the folder beside it that is named as the page.

    Raises:
        UsageError: a place that cannot be written.
    """
    page = Path(path)
    pictures = {claim.claim: standalone_svg(claim) for claim in result.claims}
    folder = page.with_suffix("")
    if any(pictures.values()):
        make_folder(folder)
    for name, picture in pictures.items():
        if picture:
            write_text(folder / f"{name}.svg", picture + "\n")
    return write_text(page, render_study_markdown(result, folder.name))


def _title(result: StudyResult) -> str:
    return f"The {result.name}, {result.preset} preset"


def _overview(result: StudyResult) -> list[str]:
    if not result.claims:
        return []
    lines = ["| Claim | Verdict | Effect, first outcome | p, Holm | Seen in cells |", "|---|---|---|---|---|"]
    for row in claim_rows(result):
        cells = (f"{row.claim} {row.title}", f"{row.word.sign} **{row.word.text}**", row.effect, row.p, row.seen)
        lines.append(f"| {' | '.join(cell.translate(_CELL) for cell in cells)} |")
    return lines


def _section(claim: ClaimVerdict, result: StudyResult, figures: str) -> list[str]:
    lines = [f"## {claim.claim}: {claim.title}", ""]
    if claim.question != claim.title:
        lines += [claim.question, ""]
    lines += [signs(claim.words), ""]
    if figures and any(level_means(cell, one) for one in outcomes_of(claim) for cell in claim.cells):
        lines += [f"![{claim.claim}, outcome against strength and compressibility]({figures}/{claim.claim}.svg)", ""]
    lines += [*_cells(claim), ""]
    lines += [f"* {name.capitalize()}: {value}." for name, value in run_rows(claim, result)]
    lines += [f"* Criterion, written before the run: {signs(claim.criterion)}"]
    if claim.would_change:
        lines += [f"* What would change it: {signs(claim.would_change)}"]
    return lines


def _cells(claim: ClaimVerdict) -> list[str]:
    """The cells that were tested; controls in italics, as they do not decide."""
    tested = [cell for cell in sorted(claim.cells, key=lambda cell: not cell.counts) if cell.trends]
    if not tested:
        return []
    names = list(dict.fromkeys(trend.outcome for cell in tested for trend in cell.trends))
    lines = [f"| Cell | {' | '.join(label(claim, name) for name in names)} | Alone |", "|---" * (len(names) + 2) + "|"]
    for cell in tested:
        effects = {trend.outcome: effect_text(trend) for trend in cell.trends}
        name = cell_name(cell).translate(_CELL)
        shown = [name if cell.counts else f"*{name} (control)*", *(effects.get(one, fmt.MISSING) for one in names)]
        lines.append(f"| {' | '.join([*shown, cell_word(cell).text])} |")
    return lines

"""Studies in words, before they are run: what there is, what it asks, how long it takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from brittle.cli.study_asked import AskedClaims, AskedStudy
from brittle.cli.study_outputs import StudyFolder
from brittle.errors import BrittleError
from brittle.report import format as fmt
from brittle.report.study_words import headline, signs
from brittle.studies.presets import NAME, PRESETS, claims_plan
from brittle.studies.statistics.criterion import Criterion
from brittle.studies.store import Store

# A placeholder for a preset's data sets: counting trials reads none.
_DATA = Path("DATA")


def listing(folder: Path) -> RenderableType:
    """The built-in studies with what they take, and the runs right below `folder` (or in it) with their state."""
    built_in = _table("Built-in studies", "study", "preset", "trials", "claims", "time, one core", "what")
    for name, preset in PRESETS.items():
        plan = claims_plan(name, _DATA)
        row = (NAME, name, fmt.count(len(plan.trials)), str(len(plan.claims)), _hours(preset.cpu_hours))
        built_in.add_row(*row, preset.description)
    parts: list[RenderableType] = [built_in]
    runs = [place for place in (folder, *sorted(folder.glob("*/"))) if StudyFolder(place).store.is_file()]
    if runs:
        table = _table("Runs here", "folder", "study", "answers", "without", "outcome")
        for place in runs:
            table.add_row(str(place), *_state(StudyFolder(place)))
        parts += [Text(), table]
    parts += [Text(), Text("A study of your own is a YAML file: brittle study show FILE.yaml", style="dim")]
    return Group(*parts)


def description(asked: AskedClaims | AskedStudy) -> RenderableType:
    """The question, the trials counted, the claims with their criteria, and the time where it is known."""
    if isinstance(asked, AskedStudy):
        return _own(asked)
    plan = asked.plan
    preset = PRESETS[plan.preset]
    share = len(plan.trials) / max(1, len(claims_plan(plan.preset, _DATA).trials))
    parts: list[RenderableType] = [
        Text(f"{plan.name}, preset {plan.preset}: {plan.question}", style="bold"),
        Text(f"{preset.description}."),
        Text(
            f"{fmt.plural(len(plan.trials), 'trial')} for {fmt.plural(len(plan.claims), 'claim')}, "
            f"about {_hours(share * preset.cpu_hours)} on one core."
        ),
        _kinds(asked),
    ]
    for claim, cells in zip(plan.claims, plan.cells, strict=True):
        deciding = sum(cell.counts for cell in cells)
        controls = f" and {fmt.plural(len(cells) - deciding, 'control')}" if deciding < len(cells) else ""
        lines = [
            Text(claim.question),
            Text(f"Sources: {'; '.join(claim.sources)}."),
            Text(f"Controls: {'; '.join(claim.controls) or 'none'}."),
            Text(f"{fmt.plural(deciding, 'cell')} that decide{controls}."),
            Text(f"Criterion: {signs(claim.criterion.words())}", style="dim"),
        ]
        parts += [Text(), Text(f"{claim.id}  {claim.title}", style="bold"), Padding(Group(*lines), (0, 0, 0, 4))]
    return Group(*parts)


def _own(asked: AskedStudy) -> RenderableType:
    study = asked.study
    parts: list[RenderableType] = [Text(f"{study.name}: {study.question}", style="bold")]
    seeds = len({trial.seed for trial in asked.trials})
    parts += [Text(f"{fmt.plural(len(asked.trials), 'trial')}, {fmt.plural(seeds, 'seed')}."), _kinds(asked)]
    if study.criterion is None:
        parts.append(Text("No criterion: the study measures, and gives no verdict."))
    else:
        one = study.criterion
        least = Criterion.__dataclass_fields__
        parts.append(
            Text(
                f"Criterion: supported if {one.outcome} {one.direction} by {one.smallest:g} or more from the first to "
                f"the last {one.over}, where {one.predictor} rises. Cells need {least['least_seeds'].default} seeds "
                f"and {least['least_levels'].default} levels, the reference among them."
            )
        )
    parts += [Text(f"Control: {control.name}.") for control in study.controls]
    return Group(*parts)


def _kinds(asked: AskedClaims | AskedStudy) -> Table:
    """How many trials there are on each task and network, by kind of source."""
    found = Counter((trial.data, trial.model, trial.source.kind) for trial in asked.trials)
    tasks = dict.fromkeys((data, model) for data, model, _ in found)
    table = _table("", "data", "network", "trials", "sources")
    for data, model in tasks:
        kinds = {kind: n for (d, m, kind), n in found.items() if (d, m) == (data, model)}
        table.add_row(data, model, str(sum(kinds.values())), ", ".join(f"{kind} {n}" for kind, n in kinds.items()))
    return table


def _state(run: StudyFolder) -> tuple[str, str, str, str]:
    """(study, answers, without, outcome) of a run; what cannot be read says so."""
    try:
        with Store(run.store, create=False) as store:
            answers = sum(count for _, count in store.codes())
        name = str(run.read_asked().get("name"))
        if not run.numbers.exists():
            return name, str(answers), fmt.MISSING, "under way or killed: brittle study report --refresh"
        result = run.read()
    except BrittleError as error:
        return fmt.MISSING, fmt.MISSING, fmt.MISSING, " ".join(str(error).split())
    return run.title(result), str(answers), str(result.missing + result.failed), headline(result)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", header_style="dim")
    return table

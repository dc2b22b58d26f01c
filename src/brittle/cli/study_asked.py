"""What NAME or FILE.yaml asks: its trials, and how their answers become a record."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from brittle.errors import UsageError
from brittle.results.study import StudyResult, TrialRow
from brittle.studies.answer import answer_claims, answer_study
from brittle.studies.cells import table_cells
from brittle.studies.claims.merge import trials_of_cells
from brittle.studies.claims.quantities import measure_of
from brittle.studies.grid import expand
from brittle.studies.presets import NAME, PRESETS, ClaimsPlan, claims_plan
from brittle.studies.study import Study
from brittle.studies.trial import Trial
from brittle.studies.yaml_file import read_study

_SUFFIXES = (".yaml", ".yml")
# The radius in a measured number's name, and names for people who look for one.
_RADIUS = re.compile(r"(linf|l2)@[^.]+(\.\d+)?([eE]-?\d+)?")
_SUCH_AS = "clean, robust.linf@0.05, structure.spectral"


@dataclass(frozen=True)
class AskedClaims:
    """The claims of the paper, all or some; `typed` is what `asked_for` makes them of again."""

    plan: ClaimsPlan
    typed: dict[str, object]

    @property
    def name(self) -> str:
        """Of the study."""
        return self.plan.name

    @property
    def folder(self) -> str:
        """Where its results go when nobody says where."""
        return f"{self.plan.name}-{self.plan.preset}"

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All of them, each once."""
        return self.plan.trials

    def answer(self, rows: Mapping[str, TrialRow], failed: Collection[str], command: str | None) -> StudyResult:
        """The record, of the trials that are there (by key)."""
        return answer_claims(self.plan, rows, failed=failed, command=command)


@dataclass(frozen=True)
class AskedStudy:
    """A study of the user's own; `typed` is what `asked_for` makes it of again."""

    study: Study
    trials: tuple[Trial, ...]
    typed: dict[str, object]

    @property
    def name(self) -> str:
        """Of the study."""
        return self.study.name

    @property
    def folder(self) -> str:
        """Where its results go when nobody says where."""
        return self.study.name

    def answer(self, rows: Mapping[str, TrialRow], failed: Collection[str], command: str | None) -> StudyResult:
        """The record, of the trials that are there (by key)."""
        return answer_study(self.study, rows, failed=failed, command=command)


def asked_for(
    name: str, preset: str = "quick", data_dir: Path | None = None, only: tuple[str, ...] = ()
) -> AskedClaims | AskedStudy:
    """The built-in study of that name, or the one in a file.

    Args:
        name: "claims", or a path that ends in .yaml or .yml.
        preset: of the claims.
        data_dir: folder with the data sets of a preset that needs them.
        only: ids of claims, () for all; Holm's correction is then over those alone.

    Raises:
        UsageError: an unknown name, preset or claim, a preset without its data, or a study file that is wrong.
        DataError: no such file.
    """
    if name.endswith(_SUFFIXES):
        if only:
            raise UsageError("--only chooses among the claims: leave it out for a study file")
        own = read_study(name)
        check_criterion(own)
        return AskedStudy(own, expand(own), {"study": str(Path(name).resolve())})
    if name != NAME:
        raise UsageError(f"unknown study {name!r}: expected {NAME}, or a file that ends in .yaml")
    if preset in PRESETS and PRESETS[preset].needs_data and data_dir is None:
        raise UsageError(f"the preset {preset} reads data sets from a folder: give it with --data-dir")
    plan = claims_plan(preset, data_dir)
    typed: dict[str, object] = {"study": name, "preset": preset, "only": list(only)}
    if data_dir is not None:
        typed["data_dir"] = str(data_dir.resolve())
    return AskedClaims(some_claims(plan, only) if only else plan, typed)


def check_criterion(study: Study) -> None:
    """Refuse a criterion that no answer could ever meet: nothing to compare, or a number that is not measured.

    Raises:
        UsageError: with what to change.
    """
    wanted = study.criterion
    if wanted is None:
        return
    if not any(cell.counts and len(cell.levels) > 1 for cell in table_cells(study)):
        raise UsageError(f"there are no two levels of {wanted.over} to compare: give grid or cells more values of it")
    for name in (wanted.predictor, wanted.outcome):
        measure, radius = measure_of(name), _RADIUS.search(name)
        if measure is None:
            raise UsageError(f"the criterion names {name!r}, which no measure gives: expected such as {_SUCH_AS}")
        for trial in expand(study):
            if measure not in trial.measures:
                raise UsageError(
                    f"the criterion names {name!r}, but a trial does not measure {measure}: add it to measures"
                )
            threats = [threat.key for threat in trial.threats]
            if radius is not None and radius[0] not in threats:
                raise UsageError(
                    f"the criterion names {name!r}, but a trial's threats are {', '.join(threats)}: add that radius to "
                    "threats, or name one of these"
                )


def some_claims(plan: ClaimsPlan, only: tuple[str, ...]) -> ClaimsPlan:
    """The plan with these claims alone, in the plan's order, and the trials that they need.

    Raises:
        UsageError: a claim that the plan has not.
    """
    known = [claim.id for claim in plan.claims]
    for one in only:
        if one not in known:
            raise UsageError(f"unknown claim {one!r}: expected some of {', '.join(known)}, as in --only C2,C5")
    places = [i for i, claim in enumerate(known) if claim in only]
    cells = tuple(plan.cells[i] for i in places)
    wanted = set(trials_of_cells(cell for part in cells for cell in part))
    return replace(
        plan,
        claims=tuple(plan.claims[i] for i in places),
        cells=cells,
        trials=tuple(trial for trial in plan.trials if trial in wanted),
    )

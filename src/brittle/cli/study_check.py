"""Everything that can be refused before the first trial: data, models, sources, measures."""

from __future__ import annotations

from collections.abc import Sequence

from brittle.compression.methods import METHODS
from brittle.errors import BrittleError, UsageError
from brittle.models.recipe import skeleton
from brittle.studies.measures.table import check_measures
from brittle.studies.sources.architecture import recipe_of
from brittle.studies.sources.plans import plan_of
from brittle.studies.synthetic import known_of
from brittle.studies.tasks import Learning, dataset_of, task_of
from brittle.studies.trial import InterventionSource, PostHocSource, Source, Trial


def check_trials(trials: Sequence[Trial]) -> None:
    """Load each data set once, build each architecture without weights, and read each source's plan.

    Raises:
        BrittleError: the first thing that would make a trial fail at once, with the trial's field.
    """
    seen: set[str] = set()
    for trial in sorted(trials, key=lambda one: (one.data, one.train or 0, one.test, one.data_seed)):
        alike = trial.model_copy(update={"seed": 0}).model_dump_json()
        if alike in seen:
            continue
        seen.add(alike)
        check_measures(trial.measures)
        if "known" in trial.measures:
            known_of(trial.data.removeprefix("synthetic:"))
        if "transfer" in trial.measures and trial.transfer is None:
            raise UsageError("the measure transfer needs the field transfer: give a DATA string of another task")
        if trial.transfer is not None:
            dataset_of(trial.transfer)
        learning = task_of(trial.data, trial.train, trial.test, trial.data_seed).learning
        try:
            _check_making(trial, trial.source, learning)
        except BrittleError as error:
            raise UsageError(f"a trial of this study cannot be run ({_named(trial)}): {error}") from None


def _check_making(trial: Trial, source: Source, learning: Learning) -> None:
    skeleton(recipe_of(trial, source, learning))
    plan_of(trial, source, hold_scale=trial.hold_scale)
    inner = source.of if isinstance(source, InterventionSource) else source
    if isinstance(inner, PostHocSource) and inner.method not in METHODS:
        raise UsageError(f"unknown compression method {inner.method!r}: expected one of {', '.join(METHODS)}")


def _named(trial: Trial) -> str:
    source = ", ".join(f"{key} {value}" for key, value in trial.source.model_dump(mode="json").items())
    return f"{trial.model} on {trial.data}, source {source}"

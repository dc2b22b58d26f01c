"""A study as data: a question, a base trial, what is varied, and the answer's criterion, written before the run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from brittle.studies.trial import Frozen, Trial

# Dotted field of a trial -> its values; every combination is a trial, the last axis changing fastest.
Grid = dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]]


class StudyCriterion(Frozen):
    """When the answer is yes.

    Attributes:
        predictor: the measure of compressibility, by its dotted name in `TrialRow.measures`.
        outcome: the measure that should change with it.
        direction: how it should change from the first level to the last.
        smallest: the smallest change of interest, in points of accuracy (other measures: in their own unit).
        over: the trial's field whose values are the levels, in the order given; dense trials are the reference of all.
    """

    predictor: Annotated[str, Field(min_length=1)]
    outcome: Annotated[str, Field(min_length=1)]
    direction: Literal["falls", "rises"] = "falls"
    smallest: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    over: Annotated[str, Field(min_length=1)] = "source"


class Control(Frozen):
    """Trials that should not show the effect, if the explanation is right; shown beside the answer."""

    name: Annotated[str, Field(min_length=1)]
    grid: Grid


class Study(Frozen):
    """A study. `checked.study_from` makes one with errors in one line; `grid.expand` gives its trials.

    Attributes:
        name: of letters, digits, ".", "_" and "-".
        question: for people, one sentence.
        base: the trial that all others are changes of.
        grid: grids of changes, one after the other.
        cells: single trials: each a set of changes.
        measures: of all trials; None for those of `base`.
        criterion: None for a study that only measures.
        controls: named grids.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    question: Annotated[str, Field(min_length=1)]
    base: Trial = Trial()
    grid: tuple[Grid, ...] = ()
    cells: tuple[dict[str, Any], ...] = ()
    measures: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    criterion: StudyCriterion | None = None
    controls: tuple[Control, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.measures is not None and self.base.measures not in (self.measures, Trial().measures):
            raise PydanticCustomError("twice", "measures are given twice, in base and beside it: keep one")
        names = [control.name for control in self.controls]
        if len(set(names)) < len(names):
            raise PydanticCustomError("twice", "two controls have one name: give each its own")
        return self

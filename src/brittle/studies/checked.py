"""Studies from plain values, everything about them checked before any work starts."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from brittle.errors import UsageError
from brittle.studies.grid import problems_in
from brittle.studies.problems import Problem, problems_of, sentence
from brittle.studies.study import Study


def study_from(values: dict[str, Any]) -> Study:
    """A study from plain values (or the models of this package inside them), all its trials checked.

    A single grid may be given without a list around it.

    Raises:
        UsageError: an unknown key, a missing one or an impossible value, in one line with the field's name; of several
            the first, and how many more there are.
    """
    study, problems = checked(values)
    if study is None:
        raise UsageError(sentence(problems))
    return study


def checked(values: dict[str, Any]) -> tuple[Study | None, list[Problem]]:
    """The study, or all that is wrong with it and where in `values` that stands."""
    plain = to_jsonable_python(values)
    if isinstance(plain.get("grid"), dict):
        plain["grid"] = [plain["grid"]]
    try:
        # By way of JSON, lists may stand for tuples while numbers still cannot come from strings.
        study = Study.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        return None, problems_of(error, Study, plain)
    found = problems_in(study)
    return (None, found) if found else (study, [])

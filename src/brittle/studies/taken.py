"""Answers that were run elsewhere, taken from a table of trials into a study file."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError

from brittle.errors import DataError
from brittle.results.study import TrialRow
from brittle.studies.keys import trial_key
from brittle.studies.store import Store
from brittle.studies.trial import Trial


def take_answers(store: Store, rows: Sequence[TrialRow]) -> int:
    """Put answers into a store under the code that ran them; those that are there already stay.

    A row's key must be that of its configuration and code here: data of other content, or a changed configuration,
    would make it another trial.

    Args:
        store: where to.
        rows: as `export.read_csv` reads them.

    Returns:
        How many were new.

    Raises:
        DataError: a configuration that is none, or a row whose key does not fit; nothing is taken then.
    """
    return store.take([(_checked(row), row) for row in rows])


def _checked(row: TrialRow) -> Trial:
    try:
        trial = Trial.model_validate_json(json.dumps(row.config))
    except ValidationError as error:
        said = error.errors()[0]
        where = ".".join(map(str, said["loc"]))
        raise DataError(f"trial {row.key[:12]} of the table is none ({where}: {said['msg']}): run it anew") from None
    if trial_key(trial, row.code) != row.key:
        raise DataError(
            f"trial {row.key[:12]} of the table was run on other data, or has been changed: its key does not fit; "
            "give the folders of data that it was run on"
        )
    return trial

"""`brittle.study`: a study of one's own in one call, from a file, plain values or a study."""

from __future__ import annotations

from pathlib import Path

import pytest

import brittle
from brittle.errors import DataError, UsageError
from brittle.studies.checked import study_from

VALUES = {
    "name": "tiny",
    "question": "How large is it?",
    "base": {"model": "zoo:mlp?width=4&depth=1", "train": 60, "test": 30, "measures": ["clean"],
             "training": {"epochs": 1}},
    "grid": {"seed": [0, 1]},
}  # fmt: skip


def test_it_runs_what_has_no_answer_and_gives_the_record(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    result = brittle.study(VALUES, tmp_path / "out", progress=lambda *step: told.append(step))
    assert [row.config["seed"] for row in result.trials] == [0, 1]
    assert all(0 <= row.measures["clean"] <= 1 for row in result.trials)
    assert (result.name, result.missing, result.failed, result.claims) == ("tiny", 0, 0, ())
    assert told[-1] == ("trials", 2, 2)
    again = brittle.study(study_from(VALUES), tmp_path / "out", time_limit=1e-6)  # all is there: no time is needed
    assert again.trials == result.trials
    longer = {**VALUES, "grid": {"seed": [0, 1, 2]}}
    assert brittle.study(longer, tmp_path / "out", time_limit=1e-6).missing == 1


def test_a_file_that_is_wrong_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nquestion: why\nbaes: {}\n")
    with pytest.raises(UsageError, match=r"own\.yaml:3: unknown key baes: did you mean base\?"):
        brittle.study(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_when_all_trials_fail_it_says_why(tmp_path: Path) -> None:
    wrong = {**VALUES, "base": {**VALUES["base"], "data": "images:nowhere"}}  # type: ignore[dict-item]
    with pytest.raises(DataError, match=r"all trials failed, the first with .*nowhere"):
        brittle.study(wrong, tmp_path / "out")

from __future__ import annotations

from typing import Any

import pytest

from brittle.errors import UsageError
from brittle.studies.checked import study_from
from brittle.studies.study import StudyCriterion
from brittle.studies.trial import Trial

LEAST = {"name": "s", "question": "q"}


def test_the_least_study_is_one_trial() -> None:
    study = study_from(dict(LEAST))
    assert study.base == Trial()
    assert study.criterion is None


def test_models_and_plain_values_make_the_same_study() -> None:
    criterion = StudyCriterion(predictor="structure.rank", outcome="robust.linf@0.05")
    plain = {"predictor": "structure.rank", "outcome": "robust.linf@0.05", "smallest": 2}
    a = study_from({**LEAST, "base": Trial(seed=3), "criterion": criterion, "measures": ["clean"]})
    b = study_from({**LEAST, "base": {"seed": 3}, "criterion": plain, "measures": ("clean",)})
    assert a == b


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"question": "q"}, "name is missing: add it"),
        ({**LEAST, "name": "../s"}, "name must consist of letters, digits, '.', '_' and '-', got '../s'"),
        ({**LEAST, "question": ""}, "question is empty: give at least one value, or leave the key out"),
        ({**LEAST, "gird": {}}, "unknown key gird: did you mean grid?"),
        ({**LEAST, "zzz": 1}, "unknown key zzz: expected one of base, cells, controls, criterion, grid, "),
        ({**LEAST, "base": []}, "base must be a mapping (key: value), got []"),
        ({**LEAST, "base": {"source": {"kind": "rnk"}}}, "base.source.kind must be one of dense, penalty, rank, "),
        ({**LEAST, "base": {"source": {"rank": 2}}}, "base.source has no kind: add `kind:` and one of dense, penalty,"),
        (
            {**LEAST, "base": {"source": {"kind": "rank", "rnak": 2}}},
            "base.source.rank is missing: add it (and 1 more)",
        ),
        (
            {**LEAST, "base": {"source": {"kind": "rank", "rank": 2, "strength": 2}}},
            "unknown key base.source.strength (kind rank): expected one of kind, rank",
        ),
        (
            {
                **LEAST,
                "base": {
                    "source": {
                        "kind": "intervention",
                        "name": "flatten",
                        "strength": 1,
                        "of": {"kind": "rank", "rank": 0},
                    }
                },
            },
            "base.source.of.rank must be >= 1, got 0: choose another value",
        ),
        ({**LEAST, "base": {"source": {"kind": "width", "factor": 2}}}, "base.source.factor must be <= 1.0, got 2"),
        ({**LEAST, "base": {"threats": [{"norm": "l2", "epsilon": 0}]}}, "base.threats[0].epsilon must be > 0.0, got"),
        ({**LEAST, "base": {"threats": [{"norm": "l3", "epsilon": 1}]}}, "base.threats[0].norm must be 'linf' or 'l2'"),
        ({**LEAST, "base": {"seed": "1"}}, "base.seed must be a whole number, got '1'"),
        ({**LEAST, "base": {"hold_scale": 1}}, "base.hold_scale must be true or false, got 1"),
        ({**LEAST, "base": {"data": 1}}, "base.data must be text (in quotes, if it looks like a number), got 1"),
        ({**LEAST, "grid": {"seed": 1}}, "grid[0].seed must be a list, got 1"),
        ({**LEAST, "grid": {"seed": []}}, "grid[0].seed is empty: give at least one value"),
        ({**LEAST, "criterion": {"outcome": "clean"}}, "criterion.predictor is missing: add it"),
        (
            {**LEAST, "criterion": {"outcome": "a", "predictor": "b", "direction": "up"}},
            "criterion.direction must be 'falls' or 'rises', got 'up'",
        ),
        ({**LEAST, "controls": [{"grid": {}}]}, "controls[0].name is missing: add it"),
        (
            {**LEAST, "controls": [{"name": "a", "grid": {"seed": [0]}}] * 2},
            "two controls have one name: give each its own",
        ),
        (
            {**LEAST, "measures": ["clean"], "base": {"measures": ["robust"]}},
            "measures are given twice, in base and beside it: keep one",
        ),
    ],
)
def test_every_refusal_is_one_line_that_names_the_field(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        study_from(values)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)

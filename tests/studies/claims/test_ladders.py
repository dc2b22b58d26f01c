from __future__ import annotations

import pytest

from brittle.studies.claims import ladders
from brittle.studies.claims.everything import every_level
from brittle.studies.claims.quick import DIGITS
from brittle.studies.claims.setting import Strengths
from brittle.studies.trial import Trial

BASE = Trial(data="digits", hold_scale=True, seed=7)
ALL = [
    ladders.group_lasso,
    ladders.nuclear,
    ladders.low_rank,
    ladders.narrow,
    ladders.learning_rate,
    ladders.weight_decay,
    ladders.neuron_pruning,
    ladders.truncation,
]
WITHOUT_DENSE = [ladders.planted_spectrum, ladders.planted_rows, ladders.scaled]


@pytest.mark.parametrize("ladder", ALL)
def test_a_ladder_starts_dense_and_changes_the_source_alone(ladder: ladders.Ladder) -> None:
    levels = ladder(DIGITS.held, BASE)
    assert levels[0].trial.source.kind == "dense"
    assert len(levels) > 2
    assert len({level.trial for level in levels}) == len(levels)
    for level in levels:
        assert level.trial.model_copy(update={"source": BASE.source}) == BASE


@pytest.mark.parametrize("ladder", WITHOUT_DENSE)
def test_planted_effects_and_scales_have_references_of_their_own(ladder: ladders.Ladder) -> None:
    levels = ladder(DIGITS.free, BASE)
    assert all(level.trial.source.kind in ("spectrum", "scale") for level in levels)


@pytest.mark.parametrize("ladder", ALL + WITHOUT_DENSE)
def test_a_source_without_strengths_is_left_out(ladder: ladders.Ladder) -> None:
    assert ladder(Strengths(), BASE) == ()


def test_all_networks_of_a_setting_are_there_once() -> None:
    levels = every_level(DIGITS, hold_scale=True)
    assert len({level.trial for level in levels}) == len(levels)
    assert {level.trial.source.kind for level in levels} == {
        "dense",
        "penalty",
        "rank",
        "width",
        "dynamics",
        "post-hoc",
    }
    assert all(level.trial.hold_scale for level in levels)

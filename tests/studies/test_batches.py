from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.studies.batches import groups
from brittle.studies.grid import trials_of
from brittle.studies.trial import Trial

SOURCES: list[dict[str, Any]] = [
    {"kind": "dense"},
    {"kind": "penalty", "name": "l1", "strength": 1.0},
    {"kind": "penalty", "name": "l1", "strength": 2.0},
    {"kind": "penalty", "name": "nuclear", "strength": 1.0},
    {"kind": "rank", "rank": 3},
    {"kind": "dynamics", "setting": "learning_rate", "value": 0.1},
    {"kind": "dynamics", "setting": "batch_size", "value": 8},
    {"kind": "post-hoc", "method": "m", "keep": 0.5},
]
ALL = trials_of(Trial(), {"source": SOURCES, "seed": [0, 1, 2]})


def sizes(trials: tuple[Trial, ...], most: int = 30) -> list[int]:
    return sorted(len(group) for group in groups(trials, most))


def test_seeds_strengths_and_rates_go_together_and_nothing_else() -> None:
    # dense with the other learning rate 6, two strengths 6, nuclear 3, rank 3, batch size 3, post-hoc alone.
    assert sizes(ALL) == [1, 1, 1, 3, 3, 3, 6, 6]
    adversarial = trials_of(Trial(), {"training.adversarial": ["pgd"], "seed": [0, 1]})
    assert sizes(adversarial) == [1, 1]
    assert sizes(trials_of(Trial(), {"training.learning_rate": [0.1, 0.2]})) == [2]
    for field, values in {"training.epochs": [1, 2], "hold_scale": [False, True], "data_seed": [0, 1]}.items():
        assert sizes(trials_of(Trial(), {field: values})) == [1, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(ALL), unique=True), st.integers(1, 7))
def test_groups_are_parts_of_the_sequence(trials: list[Trial], most: int) -> None:
    found = groups(tuple(trials), most)
    members = [trial for group in found for trial in group]
    assert len(members) == len(trials)
    assert set(members) == set(trials)
    for group in found:
        assert 1 <= len(group) <= most
        places = [trials.index(trial) for trial in group]
        assert places == sorted(places)
    assert groups(tuple(trials), most) == found


def test_large_groups_are_cut_evenly() -> None:
    assert sizes(trials_of(Trial(), {"seed": range(31)}), 30) == [15, 16]

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.errors import UsageError
from brittle.studies import grid
from brittle.studies.checked import study_from
from brittle.studies.grid import control_trials, expand, main_trials, trials_of
from brittle.studies.trial import Dense, PenaltySource, RankSource, Threat, Trial

AXES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 5),
    "data_seed": st.integers(0, 5),
    "hold_scale": st.booleans(),
    "training.epochs": st.integers(1, 4),
    "training.learning_rate": st.floats(1e-4, 1),
    "source": st.sampled_from([{"kind": "dense"}, {"kind": "rank", "rank": 2}, {"kind": "width", "factor": 0.5}]),
}
grids = st.lists(st.sampled_from(sorted(AXES)), unique=True, max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: st.lists(AXES[name], min_size=1, max_size=3) for name in names})
)


def by_hand(one: dict[str, list[Any]]) -> list[Trial]:
    """Nested loops over whole models, without dotted names."""
    trials = []
    for values in itertools.product(*one.values()):
        chosen = dict(zip(one, values, strict=True))
        training = Trial().training.model_copy(
            update={name.split(".")[1]: value for name, value in chosen.items() if "." in name}
        )
        rest = {name: value for name, value in chosen.items() if "." not in name}
        source = {"dense": Dense(), "rank": RankSource(rank=2)}
        if "source" in rest:
            given_ = rest.pop("source")
            made = source.get(given_["kind"]) or Trial.model_validate({"source": given_}).source
            trials.append(Trial(**rest, training=training, source=made))
        else:
            trials.append(Trial(**rest, training=training))
    return trials


@settings(max_examples=60, deadline=None)
@given(st.lists(grids, max_size=3))
def test_trials_are_all_combinations_in_order_and_none_twice(several: list[dict[str, list[Any]]]) -> None:
    found = expand(study_from({"name": "s", "question": "q", "grid": several}))
    expected = [trial for one in several for trial in by_hand(one)] or [Trial()]
    first_seen: list[Trial] = []
    for trial in expected:
        if trial not in first_seen:
            first_seen.append(trial)
    assert list(found) == first_seen


def test_the_last_axis_changes_fastest() -> None:
    found = trials_of(Trial(), {"seed": [0, 1], "data_seed": [2, 3]})
    assert [(trial.seed, trial.data_seed) for trial in found] == [(0, 2), (0, 3), (1, 2), (1, 3)]


def test_values_may_be_models_and_later_axes_set_fields_inside() -> None:
    source = PenaltySource(name="l1", strength=1.0)
    threats = (Threat(norm="l2", epsilon=1.0),)
    found = trials_of(
        Trial(), {"source": [source, source], "threats": [threats], "source.strength": [2.0, 3.0], "seed": (0,)}
    )
    assert [trial.source for trial in found] == [PenaltySource(name="l1", strength=s) for s in (2.0, 3.0)]
    assert found[0].threats == threats
    assert source.strength == 1.0


def test_a_study_is_not_changed_by_its_expansion() -> None:
    source = {"kind": "rank", "rank": 1}
    study = study_from({"name": "s", "question": "q", "grid": {"source": [source], "source.rank": [2, 3]}})
    assert [trial.source for trial in expand(study)] == [RankSource(rank=2), RankSource(rank=3)]
    assert study.grid[0]["source"] == (source,)


def test_cells_controls_and_measures() -> None:
    study = study_from(
        {
            "name": "s",
            "question": "q",
            "base": Trial(seed=9),
            "measures": ["clean"],
            "cells": [{"source": {"kind": "scale", "factor": 2.0}}, {"seed": 1}],
            "controls": [{"name": "c", "grid": {"seed": [9, 1, 7]}}],
        }
    )
    assert [trial.seed for trial in expand(study)] == [9, 1, 9, 7]
    assert all(trial.measures == ("clean",) for trial in expand(study))
    assert [trial.seed for trial in main_trials(study)] == [9, 1]
    assert [trial.seed for trial in control_trials(study, "c")] == [9, 1, 7]
    with pytest.raises(UsageError, match=r"no control 'd': \['c'\] are there"):
        control_trials(study, "d")


def test_impossible_combinations_are_refused() -> None:
    with pytest.raises(UsageError, match=r"source.rank must be >= 1, got 0: choose another value \(and 1 more\)"):
        trials_of(Trial(source=RankSource(rank=1)), {"source.rank": [0, 1, -1]})
    with pytest.raises(UsageError, match=r"seed.deep cannot be set: seed has no fields inside"):
        trials_of(Trial(), {"seed.deep": [1]})
    with pytest.raises(UsageError, match=r"unknown key source.rank \(kind dense\): expected one of kind"):
        trials_of(Trial(), {"source.rank": [1]})


def test_huge_grids_are_refused_without_making_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MOST_TRIALS", 99)
    with pytest.raises(UsageError, match="the grids have 100 trials, more than 99: leave some values out"):
        trials_of(Trial(), {"seed": range(10), "data_seed": range(10)})
    with pytest.raises(UsageError, match=f"the grids have {10**12} trials"):
        trials_of(Trial(), {name: range(10**6) for name in ("seed", "data_seed")} | {"test": [10]})

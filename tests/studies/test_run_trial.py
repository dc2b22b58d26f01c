"""One trial from beginning to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brittle.data import load
from brittle.data.dataset import Dataset
from brittle.data.digits import load_digits
from brittle.errors import ModelError, UsageError
from brittle.studies.grid import trials_of
from brittle.studies.jobs import Job, Work, perform
from brittle.studies.making import SOURCES, make
from brittle.studies.measures.scene import Reading
from brittle.studies.measures.table import MEASURES
from brittle.studies.run_trial import measure, run_group, run_trial
from brittle.studies.tasks import task_of
from brittle.studies.trial import Training, Trial

SMALL = Trial(
    test=60,
    train=150,
    model="zoo:mlp?width=20&depth=2",
    training=Training(epochs=6, batch_size=32, learning_rate=0.01),
)
ALL = SMALL.model_copy(
    update={"measures": tuple(name for name in MEASURES if name != "known"), "transfer": "classes:5-9:digits"}
)
LASSO = {"kind": "penalty", "name": "group_lasso", "strength": 0.01}
POST = {"kind": "post-hoc", "method": "robust-taylor", "keep": 0.5, "finetune": 1.0}
ONE_OF_EACH: list[dict[str, Any]] = [
    {"kind": "dense"},
    LASSO,
    {"kind": "rank", "rank": 3},
    {"kind": "width", "factor": 0.5},
    {"kind": "dynamics", "setting": "label_noise", "value": 0.2},
    POST,
    {"kind": "intervention", "name": "flatten", "strength": 0.5, "of": LASSO},
    {"kind": "intervention", "name": "eps-pruning", "strength": 0.5, "of": POST},
    {"kind": "spectrum", "strength": 0.5},
    {"kind": "scale", "factor": 2.0},
]


def test_the_same_trial_gives_the_same_numbers(tmp_path: Path) -> None:
    first, again = run_trial(ALL, memory=tmp_path), run_trial(ALL)
    assert first.measures == again.measures
    assert first.arrays.keys() == again.arrays.keys()
    assert all(np.array_equal(first.arrays[name], again.arrays[name]) for name in first.arrays)
    other = run_trial(ALL.model_copy(update={"seed": 1}))
    assert other.measures != first.measures
    assert other.measures.keys() == first.measures.keys()


def test_masks_are_the_accuracies() -> None:
    result = run_trial(SMALL)
    assert result.arrays.keys() == {"clean", "robust.linf@0.05", "robust.l2@0.5"}
    for name, mask in result.arrays.items():
        assert (mask.dtype, mask.shape) == (np.dtype(bool), (60,))
        assert mask.mean() == pytest.approx(result.measures[name])
    assert not (result.arrays["robust.linf@0.05"] & ~result.arrays["clean"]).any()


def test_the_engine_can_run_it() -> None:
    (done,) = perform(Job((SMALL,), ("key",), frozenset({"key"})), Work(run_trial, run_group))
    assert done.measures == run_trial(SMALL).measures  # type: ignore[union-attr]


def test_a_group_gives_what_its_members_give() -> None:
    trials = [SMALL, SMALL.model_copy(update={"seed": 1}), *trials_of(SMALL, {"source": [LASSO]})]
    together = run_group(trials)
    for one, trial in zip(together, trials, strict=True):
        alone = run_trial(trial)
        assert one.measures.keys() == alone.measures.keys()
        for name, value in alone.measures.items():
            assert one.measures[name] == pytest.approx(value, rel=0.02, abs=0.04), name
    assert run_group([]) == []


def test_a_group_shares_its_samples() -> None:
    with pytest.raises(UsageError, match="a group's trials share their samples"):
        run_group([SMALL, SMALL.model_copy(update={"data_seed": 1})])


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test split of digits becomes noise with labels at random."""
    task_of.cache_clear()

    def broken(location: str = "") -> Dataset:
        true = load_digits(location)

        def read(split: str) -> tuple[torch.Tensor, torch.Tensor]:
            whole = true.split(split)
            if split != "test":
                return whole.x, whole.y
            generator = torch.Generator().manual_seed(0)
            return torch.rand(whole.x.shape, generator=generator), whole.y[
                torch.randperm(len(whole), generator=generator)
            ]

        return Dataset(true.name, true.classes, true.input_shape, true.splits, read)

    monkeypatch.setitem(load.DATASETS, "digits", broken)
    yield
    task_of.cache_clear()


def weights(trial: Trial) -> dict[str, torch.Tensor]:
    return make(trial, task_of(trial.data, trial.train, trial.test, trial.data_seed).learning).state_dict()


def test_there_is_one_of_each_source() -> None:
    assert {source["kind"] for source in ONE_OF_EACH} == SOURCES.keys()


@pytest.fixture(scope="module")
def unpoisoned() -> dict[str, Any]:
    """Networks and measures of the true data, before anything is poisoned."""
    task_of.cache_clear()
    nets = {str(trial.source): weights(trial) for trial in trials_of(SMALL, {"source": ONE_OF_EACH})}
    return {"nets": nets, "measures": run_trial(SMALL).measures}


def test_a_poisoned_test_split_changes_no_network_and_all_accuracies(
    unpoisoned: dict[str, Any], poisoned: None
) -> None:
    for trial in trials_of(SMALL, {"source": ONE_OF_EACH}):
        found = weights(trial)
        assert found.keys() == unpoisoned["nets"][str(trial.source)].keys()
        for name, value in unpoisoned["nets"][str(trial.source)].items():
            assert torch.equal(found[name], value), (trial.source, name)
    now = run_trial(SMALL).measures
    for name, value in unpoisoned["measures"].items():
        assert (now[name] == value) == name.startswith("structure."), name


def test_unknown_measures_and_a_missing_transfer_are_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="unknown measure 'charm': expected one of clean, robust"):
        run_trial(Trial(data="nowhere", measures=("clean", "charm")))
    with pytest.raises(UsageError, match="transfer needs the trial's field transfer"):
        run_trial(Trial(data="nowhere", measures=("transfer",)))


def test_a_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "clean", lambda scene: Reading({"clean": float("nan")}))
    task = task_of("digits", 50, 30, 0)
    with pytest.raises(ModelError, match="expected a finite clean, got nan: the network may have diverged"):
        measure(make(SMALL, task.learning), task, SMALL)

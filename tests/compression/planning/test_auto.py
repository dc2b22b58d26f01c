"""The planned method as a whole: the size, the outcome against its prediction, and never far behind a single method."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from brittle.compression.cost import parameters
from brittle.compression.methods import METHODS, compress_to
from brittle.compression.planning import auto as planning
from brittle.compression.planning import samples
from brittle.compression.planning.auto import Compressed, Trying
from brittle.compression.planning.measure import bench
from brittle.compression.planning.samples import LEAST_SAMPLES
from brittle.compression.planning.sensitivity import Cache
from brittle.data.load import load_data
from brittle.errors import DataError, ModelError
from brittle.threats import LinfBall
from tests.compression.planned_nets import cnn, evidence, mlp

THREAT = LinfBall(0.05)
CACHE = Cache()
_FOUND: dict[float, Compressed] = {}


def planned(keep: float) -> Compressed:
    """One run for each size, with one cache for all of them."""
    if keep not in _FOUND:
        trying = Trying(trials=14, cache=CACHE)
        _FOUND[keep] = compress_to(cnn(), "auto", keep, evidence(600, threat=THREAT), trying=trying)
    return _FOUND[keep]


def accuracy(model: nn.Module) -> float:
    test = load_data("digits").split("test")
    with torch.no_grad():
        return float((model(test.x).argmax(1) == test.y).float().mean())


KEEPS = [0.7, 0.5, 0.4, 0.3, 0.25]


@pytest.mark.parametrize("keep", KEEPS)
def test_size_and_prediction(keep: float) -> None:
    found = planned(keep)
    assert 0.97 * keep <= parameters(found.model) / parameters(cnn()) <= keep
    expected = found.prediction
    assert expected is not None
    assert expected.n == 120
    # Three points, and what 120 samples leave open at these accuracies (two standard errors of a drop of 5 points).
    assert abs(expected.predicted_clean - expected.measured_clean) <= 0.03 + 0.04
    assert expected.predicted_robust is not None
    assert expected.measured_robust is not None
    assert abs(expected.predicted_robust - expected.measured_robust) <= 0.03 + 0.06


def test_predictions_do_not_lean_to_one_side() -> None:
    errors = [p.predicted_clean - p.measured_clean for keep in KEEPS if (p := planned(keep).prediction)]
    assert abs(sum(errors) / len(errors)) <= 0.03


def test_the_measured_numbers_are_those_of_the_held_samples() -> None:
    given = evidence(600, threat=THREAT)
    held = torch.arange(600) % 5 == 4
    board = bench(cnn(), replace(given, x=given.x[held], y=given.y[held]), batch_size=250)
    found = planned(0.3)
    standing = board.measure(found.model)
    assert found.prediction is not None
    assert (found.prediction.measured_clean, found.prediction.measured_robust) == (standing.clean, standing.robust)


@pytest.mark.parametrize("method", ["l2", "l2-global", "eps", "svd", "svd-energy", "taylor-global", "refit"])
def test_it_is_not_behind_a_single_method(method: str) -> None:
    """On the test split, clean, before fine-tuning: 540 images leave 1.5 points open and more; most are far behind."""
    single = compress_to(cnn(), method, 0.5, evidence(600, threat=THREAT))
    assert accuracy(planned(0.5).model) >= accuracy(single.model) - 0.015


def test_the_same_call_gives_the_same_network() -> None:
    trying = Trying(trials=6)
    a, b = (compress_to(mlp(), "auto", 0.3, evidence(100), trying=replace(trying, cache=Cache())) for _ in range(2))
    assert a.plan == b.plan
    assert all(torch.equal(p, q) for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True))


@pytest.mark.parametrize("threat", [None, THREAT], ids=["clean", "robust"])
def test_samples_beyond_the_shared_ones_leave_the_choice_and_change_the_last_fit(
    threat: LinfBall | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SHARED", 100)
    monkeypatch.setattr(planning, "_FITTED_TO", 40)
    few, many = (
        compress_to(mlp(), "auto", 0.3, evidence(count, threat=threat), trying=Trying(trials=6, cache=Cache()))
        for count in (100, 160)
    )
    assert many.plan == few.plan
    assert many.prediction == replace(
        few.prediction, measured_clean=many.prediction.measured_clean, measured_robust=many.prediction.measured_robust
    )
    pairs = zip(few.model.parameters(), many.model.parameters(), strict=True)
    assert not all(torch.equal(p, q) for p, q in pairs), "sixty more samples to fit to"


def test_without_a_threat_nothing_robust_is_predicted() -> None:
    found = compress_to(mlp(), "auto", 0.3, evidence(100), trying=Trying(trials=6))
    assert found.prediction is not None
    assert found.prediction.predicted_robust is None
    assert found.prediction.measured_robust is None
    assert found.prediction.gap is None or found.prediction.gap >= 0
    assert len(found.notes) == 1
    assert "training samples" in found.notes[0]


def test_the_parent_is_left_as_it_was() -> None:
    model = mlp().train()
    before = [parameter.clone() for parameter in model.parameters()]
    compress_to(model, "auto", 0.3, evidence(100), trying=Trying(trials=3))
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_too_few_samples_and_nothing_to_shrink_are_refused() -> None:
    with pytest.raises(DataError, match=f"auto needs at least {LEAST_SAMPLES} training samples to choose from, got 49"):
        compress_to(mlp(), "auto", 0.3, evidence(49))
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ModelError, match="nothing in the model can be shrunk"):
        compress_to(head, "auto", 0.3, evidence(60))


def test_every_rival_has_a_family() -> None:
    from brittle.compression import methods

    for name in (*methods._RIVALS, *methods._UNDER_ATTACK):
        assert METHODS[name].family is not None

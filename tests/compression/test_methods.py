"""The table of methods: each one meets the size on real nets, and what cannot be is refused before any work."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from brittle.compression import methods
from brittle.compression.cost import parameters
from brittle.compression.methods import METHODS, compress_to
from brittle.compression.planning.auto import Trying
from brittle.compression.protocols import Evidence
from brittle.errors import BrittleError, DataError, ModelError, UsageError
from brittle.models.recipe import Recipe, build
from brittle.threats import LinfBall
from tests.compression.planned_nets import cnn, evidence, mlp, wide_cnn

GIVEN = evidence(100, threat=LinfBall(0.05))
BY_SIZE = [name for name in METHODS if name not in ("int8", "auto")]


def accuracy(model: nn.Module) -> float:
    given = evidence(400)
    with torch.no_grad():
        return float((model(given.x).argmax(1) == given.y).float().mean())


def nonzero(model: nn.Module) -> int:
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())


@pytest.mark.parametrize("make", [mlp, wide_cnn])
@pytest.mark.parametrize("method", BY_SIZE)
def test_every_method_meets_the_size(method: str, make: object) -> None:
    model = make()  # type: ignore[operator]
    before = [parameter.clone() for parameter in model.parameters()]
    keep = 0.4
    found = compress_to(model, method, keep, GIVEN)
    size = nonzero(found.model) if method == "magnitude" else parameters(found.model)
    assert 0.97 * keep * parameters(model) <= size <= keep * parameters(model)
    assert found.prediction is None
    assert found.model(GIVEN.x).shape == (100, 10)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_methods_do_what_their_names_say() -> None:
    plans = {name: compress_to(wide_cnn(), name, 0.4, GIVEN).plan for name in BY_SIZE}
    shares = {name: n / {"conv1": 16, "conv2": 32, "fc1": 96}[name] for name, n in plans["l2"].units.items()}
    assert max(shares.values()) - min(shares.values()) < 0.15, "the same share of every layer"
    assert plans["l1"].units == plans["l2"].units == plans["taylor"].units == plans["refit"].units
    assert plans["l2-global"].units != plans["l2"].units
    assert plans["taylor-global"].units != plans["robust-taylor-global"].units
    for name, plan in plans.items():
        assert bool(plan.ranks) == name.startswith(("svd", "tucker")), name
        assert bool(plan.modes) == name.startswith("tucker"), name
        assert bool(plan.densities) == (name == "magnitude"), name
        assert bool(plan.units) == (not name.startswith(("svd", "tucker", "magnitude"))), name


def test_scores_decide_who_stays() -> None:
    logits = {
        n: compress_to(wide_cnn(), n, 0.4, GIVEN).model(GIVEN.x) for n in ("l2", "taylor", "robust-taylor", "refit")
    }
    names = list(logits)
    for i, one in enumerate(names):
        assert all(not torch.allclose(logits[one], logits[other], atol=1e-4) for other in names[:i])


def test_fitting_layers_again_beats_leaving_them() -> None:
    assert accuracy(compress_to(cnn(), "refit", 0.3, GIVEN).model) > accuracy(
        compress_to(cnn(), "l2", 0.3, GIVEN).model
    )


def test_int8_keeps_every_parameter() -> None:
    found = compress_to(cnn(), "int8", 0.25, GIVEN)
    assert found.plan.bits == 8
    assert parameters(found.model) == parameters(cnn())
    assert len(found.model.fc1.weight[0].unique()) <= 255
    with pytest.raises(UsageError, match=r"in a quarter of the bytes of float32: give keep 0\.25, got 0\.5"):
        compress_to(cnn(), "int8", 0.5, GIVEN)


def test_everything_kept_is_a_copy() -> None:
    model = cnn()
    found = compress_to(model, "l2", 1, GIVEN)
    assert found.model is not model
    assert torch.equal(found.model(GIVEN.x), model(GIVEN.x))


@pytest.mark.parametrize("keep", [0, -0.5, 1.001, math.nan, math.inf])
def test_impossible_shares_are_refused(keep: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "find_couplings", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(UsageError, match="must be above 0 and at most 1, got"):
        compress_to(cnn(), "l2", keep, GIVEN)


@pytest.mark.parametrize("method", ["l2", "svd", "eps", "svd-energy", "auto"])
def test_a_size_that_nothing_reaches_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match="cannot be reached: "):
        compress_to(cnn(), method, 0.001, GIVEN)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x.flatten(1)).relu()).relu())


class Odd(nn.Module):
    """Nothing but one recurrent layer, which no method knows."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(8, 10, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x[:, 0])[0][:, -1]


@pytest.mark.parametrize("method", METHODS)
def test_tied_weights_are_refused_by_every_method(method: str) -> None:
    with pytest.raises(ModelError, match="layer 'a' shares its weights with 'b': tied layers cannot be compressed"):
        compress_to(Tied(), method, 0.25, GIVEN)


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_anything_to_shrink_is_refused_in_one_line(method: str) -> None:
    with pytest.raises(BrittleError) as caught:
        compress_to(Odd(), method, 0.25, GIVEN)
    assert "\n" not in str(caught.value)


def test_layers_that_cannot_shrink_are_refused() -> None:
    narrow = build(Recipe("mlp", (1, 8, 8), 10, {"widths": [1]}), seed=0)
    with pytest.raises(ModelError, match="no channels, neurons or heads that can be removed"):
        compress_to(narrow, "l2", 0.5, GIVEN)


def test_unknown_methods_and_missing_threats_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown compression method 'magic': expected one of l1, l2, "):
        compress_to(cnn(), "magic", 0.5, GIVEN)
    for method in ("robust-taylor", "robust-taylor-global"):
        with pytest.raises(UsageError, match=f"method '{method}' scores units under attack: give a norm and a radius"):
            compress_to(cnn(), method, 0.5, evidence(60))


def test_evidence_that_is_no_pixels_is_refused() -> None:
    bad = Evidence(GIVEN.x + 2, GIVEN.y, None, 0)
    with pytest.raises(DataError, match=r"expected pixels in \[0, 1\]"):
        compress_to(cnn(), "l2", 0.5, bad)


def test_auto_tries_as_hard_as_it_is_told() -> None:
    told: list[str] = []
    found = compress_to(
        mlp(), "auto", 0.3, GIVEN, trying=Trying(trials=4, progress=lambda stage, *_: told.append(stage))
    )
    assert set(told) == {"sensitivities", "plans"}
    assert 0.97 * 0.3 <= parameters(found.model) / parameters(mlp()) <= 0.3

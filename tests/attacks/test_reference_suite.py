"""AutoAttack behind our interface."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from tests.small_nets import trained
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.reference import AutoAttack
from brittle.data.load import load_data
from brittle.errors import DataError, ModelError, UsageError
from brittle.threats import ball

N = 20
RADII = {"linf": 0.12, "l2": 0.6, "l1": 1.6}


@pytest.fixture
def package():
    return pytest.importorskip("pyautoattack", reason="needs the optional package pyautoattack")


@pytest.fixture
def short(package, monkeypatch):
    """The suite with 50 queries instead of 5000: what surrounds it is tested, not its strength."""

    class Short(package.AutoAttack):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            self.square.n_queries = 50

    monkeypatch.setattr(package, "AutoAttack", Short)


class Watched(nn.Module):
    """A net that remembers its largest batch."""

    def __init__(self, model):
        super().__init__()
        self.model, self.largest = model, 0

    def forward(self, x):
        self.largest = max(self.largest, len(x))
        return self.model(x)


def digits(dtype=torch.float32):
    split = load_data("digits").split("test")
    return split.x[:N].to(dtype), split.y[:N]


def attack(norm, dtype=torch.float32, model=None):
    """What the suite answers, its threat, and the accuracy left after it and after APGD."""
    (x, y), model, threat = digits(dtype), model or trained().to(dtype), ball(norm, RADII[norm])
    run = {"indices": torch.arange(N), "seed": 0}
    x_adv = AutoAttack()(model, x, y, threat, **run)
    left = [float((model(a).argmax(1) == y).double().mean()) for a in (x_adv, APGD(50)(model, x, y, threat, **run))]
    return x_adv, threat, left


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("norm", "dtype"), [("linf", torch.float32), ("l2", torch.float64), ("l1", torch.float32)])
def test_as_strong_as_apgd_and_inside_ball_and_box(norm, dtype):
    model, (x, y) = Watched(trained().to(dtype)), digits(dtype)
    x_adv, threat, left = attack(norm, dtype, model)
    assert x_adv.dtype == dtype
    assert model.largest == N
    assert float(threat.length(x_adv.double() - x.double()).max()) <= threat.epsilon
    assert float(x_adv.min()) >= 0.0
    assert float(x_adv.max()) <= 1.0
    assert 0.0 < left[0] <= left[1] < 0.8
    assert not torch.equal(x_adv, x)
    standing = model(x_adv).argmax(1) == y
    assert torch.equal(x_adv[standing], x[standing])


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_the_whole_suite_is_as_strong_as_apgd():
    _, _, left = attack("linf")
    assert 0.0 < left[0] <= left[1]


@pytest.mark.usefixtures("short")
def test_nothing_global_changes_and_nothing_is_said(capsys, caplog):
    (x, y), model = digits(), trained().train()
    caplog.set_level(logging.DEBUG)
    state, trace = torch.get_rng_state(), sys.gettrace()
    run = [AutoAttack()(model, x[:6], y[:6], ball("l2", 2.0), indices=torch.arange(6), seed=s) for s in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.gettrace() is trace
    assert capsys.readouterr() == ("", "")
    assert not caplog.records
    assert not logging.getLogger("auto-attack").disabled
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(run[0], run[1])
    assert not torch.equal(run[0], run[2])


@pytest.mark.usefixtures("short")
def test_few_classes_are_enough_down_to_four():
    torch.manual_seed(0)
    x = torch.rand(8, 1, 5, 5)
    for classes in (3, 4):
        model = nn.Sequential(nn.Flatten(), nn.Linear(25, classes))
        y = model(x).argmax(1)
        run = {"indices": torch.arange(8), "seed": 0}
        if classes == 3:
            with pytest.raises(ModelError, match="at least 4 classes, got 3"):
                AutoAttack()(model, x, y, ball("linf", 0.3), **run)
        else:
            assert (model(AutoAttack()(model, x, y, ball("linf", 0.9), **run)).argmax(1) != y).any()


class Wild:
    """A suite that leaves ball and box, talks, and changes every global state."""

    targets: tuple[int, int] = (0, 0)

    def __init__(self, model, **settings):
        self.apgd_targeted, self.fab = SimpleNamespace(n_target_classes=9), SimpleNamespace(n_target_classes=9)
        self.settings = settings

    def run_standard_evaluation(self, x, y, *, batch_size):
        Wild.targets = (self.apgd_targeted.n_target_classes, self.fab.n_target_classes)
        assert batch_size == len(x)
        assert self.settings["eps"] < 0.1
        torch.manual_seed(123)
        sys.settrace(None)
        print("loud")
        logging.getLogger("auto-attack").warning("louder")
        return x + 0.7, y


def test_whatever_the_suite_does_its_answers_are_projected_and_global_state_is_put_back(monkeypatch, capsys, caplog):
    monkeypatch.setitem(sys.modules, "pyautoattack", SimpleNamespace(AutoAttack=Wild))
    x, y = torch.rand(5, 1, 5, 5), torch.zeros(5, dtype=torch.int64)
    model, threat = nn.Sequential(nn.Flatten(), nn.Linear(25, 6)), ball("linf", 0.1)
    state, before = torch.get_rng_state(), sys.gettrace()

    def trace(frame, event, argument):
        return None

    sys.settrace(trace)
    try:
        x_adv = AutoAttack()(model, x, y, threat, indices=torch.arange(5), seed=0)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert float(threat.length(x_adv.double() - x.double()).max()) <= 0.1
    assert float(x_adv.max()) <= 1.0
    assert (x_adv > x).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert capsys.readouterr() == ("", "")
    assert not caplog.records
    assert Wild.targets == (5, 5)


def test_without_the_package_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    x, y = digits()
    with pytest.raises(UsageError, match=r"pip install 'brittle\[autoattack\]'"):
        AutoAttack()(trained(), x, y, ball("linf", 0.1), indices=torch.arange(N), seed=0)


@dataclass(frozen=True)
class OtherBall:
    epsilon: float = 0.1
    norm: str = "l0"


def test_bad_input_is_refused_before_the_model_runs():
    model, (x, y) = Watched(trained()), digits()
    run = {"indices": torch.arange(N), "seed": 0}
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        AutoAttack()(model, x + 1, y, ball("linf", 0.1), **run)
    with pytest.raises(UsageError, match="too small for float32"):
        AutoAttack()(model, x, y, ball("linf", 1e-9), **run)
    with pytest.raises(UsageError, match="knows the norms linf, l2, l1, got 'l0'"):
        AutoAttack()(model, x, y, OtherBall(), **run)
    for shape in ((64,), (1, 4, 16)):
        with pytest.raises(UsageError, match="takes images"):
            AutoAttack()(model, x.view(N, *shape), y, ball("linf", 0.1), **run)
    assert model.largest == 0
    assert (AutoAttack().name, AutoAttack().cost) == ("autoattack", 6900)

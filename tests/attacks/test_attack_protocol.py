"""What every attack promises, whatever the network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.fgsm import FGSM
from brittle.attacks.gradient import evaluate
from brittle.attacks.losses import cross_entropy
from brittle.attacks.pgd import PGD
from brittle.attacks.targeted import TargetedAPGD
from brittle.errors import DataError, ModelError, UsageError
from brittle.threats import ball

ATTACKS = [FGSM(), PGD(5, restarts=2), APGD(8), APGD(8, "dlr", restarts=2), WorstCase(APGD(8)), TargetedAPGD(4, 2)]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


class Counting(nn.Module):
    """A small network that counts samples going forward and back, and remembers its largest batch."""

    def __init__(self, dtype=torch.float64, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(18, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, classes)
        ).to(dtype)
        self.gradients = self.largest = 0

    def forward(self, x):
        self.largest = max(self.largest, len(x))
        self.gradients += len(x) * x.requires_grad
        return 5 * self.net(x)


def samples(n=16, dtype=torch.float64, seed=0):
    x = torch.rand(n, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    model = Counting(dtype).eval()
    return x, evaluate(model, x, torch.zeros(n, dtype=torch.int64), cross_entropy)[0].argmax(1)


@each_attack
@settings(max_examples=12, deadline=None)
@given(
    norm=st.sampled_from(["linf", "l2", "l1"]),
    epsilon=st.floats(1e-3, 2.0),
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_answers_never_leave_ball_and_box(attack, norm, epsilon, seed, dtype):
    x, y = samples(6, dtype, seed)
    x[0], x[1] = 0.0, 1.0  # on the box's faces
    threat = ball(norm, epsilon)
    x_adv = attack(Counting(dtype), x, y, threat, indices=torch.arange(6), seed=seed)
    assert x_adv.dtype == dtype
    assert float(threat.length(x_adv.double() - x.double()).max()) <= epsilon
    assert float(x_adv.min()) >= 0.0
    assert float(x_adv.max()) <= 1.0


@each_attack
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_sample_s_answer_does_not_depend_on_its_batch(attack, norm):
    x, y = samples()
    threat, model, indices = ball(norm, 0.1), Counting(), torch.arange(40, 56)
    whole = attack(model, x, y, threat, indices=indices, seed=1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    parts = [attack(model, x[p], y[p], threat, indices=indices[p], seed=1) for p in order.split(5)]
    assert torch.allclose(torch.cat(parts), whole[order], atol=1e-9)


@each_attack
def test_the_seed_decides(attack):
    x, y = samples()
    run = [attack(Counting(), x, y, ball("l2", 0.02), indices=torch.arange(16), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(run[0], run[1])
    assert torch.equal(run[0], run[2]) == isinstance(attack, FGSM)


@each_attack
def test_the_model_comes_back_as_it_was(attack):
    model, (x, y) = Counting(), samples()
    model.net[3].eval()
    model.net[1].weight.requires_grad_(False)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    attack(model, x, y, ball("linf", 0.1), indices=torch.arange(16), seed=0)
    assert model.training
    assert not model.net[3].training
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not x.requires_grad


@each_attack
def test_gradients_stay_within_the_cost_and_the_batch_within_the_samples(attack):
    model, (x, y) = Counting(), samples()
    attack(model, x, y, ball("linf", 1e-4), indices=torch.arange(16), seed=0)  # nothing breaks: the full cost
    assert model.gradients == 16 * attack.cost
    assert model.largest == 16


@pytest.mark.parametrize("attack", [PGD(50), APGD(50), TargetedAPGD(50, 3)], ids=lambda attack: attack.name)
def test_broken_samples_are_left_alone(attack):
    model, (x, y) = Counting(), samples()
    attack(model, x, y, ball("linf", 0.5), indices=torch.arange(16), seed=0)
    assert model.gradients < 0.3 * 16 * attack.cost


def test_more_restarts_only_help():
    model, (x, y) = Counting().eval(), samples(200)
    for kind in (PGD, APGD):
        broken = []
        for restarts in (1, 4):
            attack = kind(steps=2, restarts=restarts)
            x_adv = attack(model, x, y, ball("l2", 0.2), indices=torch.arange(200), seed=0)
            broken.append(model(x_adv).argmax(1) != y)
        assert broken[0].any()
        assert broken[1][broken[0]].all()  # the first start is the same
        assert broken[1].sum() > broken[0].sum()  # the others are not


def test_worst_case_goes_further_than_an_attack_that_stops():
    model, (x, y) = Counting().eval(), samples()
    losses = [
        cross_entropy(model(a(model, x, y, ball("linf", 0.2), indices=torch.arange(16), seed=0)), y)
        for a in (APGD(30), WorstCase(APGD(30)))
    ]
    assert (losses[1] >= losses[0] - 0.02).all()
    assert losses[1].mean() > losses[0].mean() + 0.03


@each_attack
def test_bad_input_is_refused_before_the_model_runs(attack):
    model, (x, y) = Counting(), samples()
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        attack(model, x + 1, y, ball("linf", 0.1), indices=torch.arange(16), seed=0)
    with pytest.raises(UsageError, match="too small for float32"):
        attack(model, x.float(), y, ball("linf", 1e-9), indices=torch.arange(16), seed=0)
    assert model.largest == 0


@each_attack
def test_a_model_without_gradients_is_refused_and_restored(attack):
    class Detached(Counting):
        def forward(self, x):
            return super().forward(x).detach()

    model, (x, y) = Detached(), samples()
    with pytest.raises(ModelError, match="without a graph"):
        attack(model, x, y, ball("linf", 0.1), indices=torch.arange(16), seed=0)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_worst_case_is_named_after_its_settings_and_costs_as_much():
    worst = WorstCase(APGD(8, "dlr", restarts=2))
    assert (worst.name, worst.cost) == ("worst-dlr-8x2", 16)
    assert WorstCase().name == "worst-ce-50"


def test_bad_settings_are_refused():
    for make in (PGD, APGD, TargetedAPGD):
        with pytest.raises(UsageError, match="steps >= 1"):
            make(steps=0)
    for make in (PGD, APGD):
        with pytest.raises(UsageError, match="restarts=0"):
            make(restarts=0)
    for make in (FGSM, PGD, APGD):
        with pytest.raises(UsageError, match="unknown attack loss 'hinge'"):
            make(loss="hinge")
    for size in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="step_size is a positive fraction"):
            PGD(step_size=size)
    with pytest.raises(UsageError, match="targets >= 1, got 0"):
        TargetedAPGD(targets=0)

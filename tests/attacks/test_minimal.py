"""What every minimal attack promises, whatever the network."""

from __future__ import annotations

import pytest
import torch
from tests.small_nets import trained
from torch import nn

from brittle.attacks.apgd import APGD
from brittle.attacks.deepfool import DeepFool
from brittle.attacks.fab import FAB
from brittle.attacks.fab_targeted import TargetedFAB
from brittle.attacks.minimal_ladder import Ladder
from brittle.attacks.minimal_norms import norm_named
from brittle.data.load import load_data
from brittle.errors import DataError, ModelError, UsageError
from brittle.threats import ball

ORDER = {"linf": torch.inf, "l2": 2, "l1": 1}
ATTACKS = [DeepFool(20), FAB(12), FAB(10, restarts=2, classes=2), TargetedFAB(12)]
LADDER = Ladder(APGD(20), (0.02, 0.1, 0.5, 2.0))
each_attack = pytest.mark.parametrize("attack", [*ATTACKS, LADDER], ids=lambda attack: attack.name)
each_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])


class Counting(nn.Module):
    """A small net that counts gradients of samples, and remembers its largest batch."""

    def __init__(self, dtype=torch.float64, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(18, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, classes))
        self.net.to(dtype)
        self.gradients = self.largest = 0

    def forward(self, x):
        self.largest = max(self.largest, len(x))
        if x.requires_grad:
            x.register_hook(self.count)
        return 5 * self.net(x)

    def count(self, gradient):
        self.gradients += len(gradient)


def samples(n=16, dtype=torch.float64):
    x = torch.rand(n, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    x[0], x[1] = 0.0, 1.0  # on the box's faces
    y = Counting(dtype).eval()(x).argmax(1)
    y[2::5] = (y[2::5] + 1) % 4
    return x, y


@each_attack
@each_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_radii_are_those_of_the_stored_misclassified_points(attack, norm, dtype):
    model, (x, y) = Counting(dtype), samples(40, dtype)
    x_adv, radius = attack(model, x, y, norm, indices=torch.arange(40), seed=0)
    assert x_adv.dtype == dtype
    assert radius.dtype == torch.float64
    right = model.eval()(x).argmax(1) == y
    length = torch.linalg.vector_norm((x_adv.double() - x.double()).flatten(1), ord=ORDER[norm], dim=1)
    found = torch.isfinite(radius)
    assert found[right].double().mean() > 0.8
    assert torch.allclose(length[found], radius[found], rtol=1e-14)
    assert torch.equal(radius == 0, ~right)
    assert torch.equal(x_adv[~right], x[~right])
    assert (model(x_adv).argmax(1) != y)[found].all()
    assert float(x_adv.min()) >= 0.0
    assert float(x_adv.max()) <= 1.0


@each_attack
def test_only_radii_below_the_limit_are_reported(attack):
    model, (x, y) = Counting().eval(), samples(40)
    run = {"indices": torch.arange(40), "seed": 0}
    _, free = attack(model, x, y, "l2", **run)
    half = free.clone()
    half[::2] = 0.5 * free[::2].clamp(1e-3, 1.0)  # unreachable
    half[1::2] = 2 * free[1::2]
    x_adv, radius = attack(model, x, y, "l2", **run, limit=half)
    right = free > 0
    assert torch.equal(radius[~right], free[~right])
    assert (radius < half)[right & torch.isfinite(radius)].all()
    assert torch.isinf(radius[::2][right[::2]]).double().mean() > 0.9
    if attack is not LADDER:  # which may meet other rungs
        assert torch.isfinite(radius[1::2]).all()
    missed = torch.isinf(radius)
    assert torch.equal(x_adv[missed], x[missed])


@each_attack
@each_norm
def test_a_sample_s_answer_does_not_depend_on_its_batch(attack, norm):
    model, (x, y) = Counting(), samples()
    indices = torch.arange(40, 56)
    points, radii = attack(model, x, y, norm, indices=indices, seed=1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    parts = [attack(model, x[p], y[p], norm, indices=indices[p], seed=1) for p in order.split(5)]
    assert torch.allclose(torch.cat([part[0] for part in parts]), points[order], atol=1e-7)
    assert torch.allclose(torch.cat([part[1] for part in parts]), radii[order], atol=1e-7)


def test_the_seed_decides_where_there_are_random_starts():
    model, (x, y) = Counting().eval(), samples()
    attack = FAB(5, restarts=2)
    run = [attack(model, x, y, "l2", indices=torch.arange(16), seed=seed)[0] for seed in (0, 0, 1)]
    assert torch.equal(run[0], run[1])
    assert not torch.equal(run[0], run[2])


@each_attack
def test_the_model_comes_back_as_it_was_and_the_cost_is_kept(attack):
    model, (x, y) = Counting(), samples()
    model.net[3].eval()
    model.net[1].weight.requires_grad_(False)
    attack(model, x, y, "linf", indices=torch.arange(16), seed=0)
    assert model.training
    assert not model.net[3].training
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert not x.requires_grad
    assert 0 < model.gradients <= 16 * attack.cost
    assert model.largest == 16


@each_attack
def test_a_constant_model_is_never_broken(attack):
    class Constant(Counting):
        def forward(self, x):
            return 0 * super().forward(x) + torch.tensor([0.0, 3.0, 1.0, 2.0], dtype=x.dtype)

    x, _ = samples()
    y = torch.ones(16, dtype=torch.int64)
    y[0] = 3
    x_adv, radius = attack(Constant(), x, y, "l2", indices=torch.arange(16), seed=0)
    assert torch.equal(x_adv, x)
    assert radius[0] == 0
    assert torch.isinf(radius[1:]).all()


@each_attack
def test_samples_that_are_all_wrong_cost_no_gradient(attack):
    model, (x, _) = Counting(), samples()
    y = (Counting().eval()(x).argmax(1) + 1) % 4
    _, radius = attack(model, x, y, "l2", indices=torch.arange(16), seed=0)
    assert (radius == 0).all()
    assert model.gradients == 0


@each_attack
def test_bad_input_is_refused_before_the_model_runs(attack):
    model, (x, y) = Counting(), samples()
    run = {"indices": torch.arange(16), "seed": 0}
    with pytest.raises(DataError, match=r"pixels in \[0, 1\]"):
        attack(model, x + 1, y, "linf", **run)
    with pytest.raises(UsageError, match="know the norms linf, l2, l1, got 'l0'"):
        attack(model, x, y, "l0", **run)
    for limit in (
        torch.ones(16),
        torch.ones(3).double(),
        -torch.ones(16).double(),
        torch.full((16,), torch.nan).double(),
    ):
        with pytest.raises(UsageError, match="expected limits >= 0, float64"):
            attack(model, x, y, "linf", **run, limit=limit)
    assert model.largest == 0


@each_attack
def test_a_model_without_gradients_is_refused_and_restored(attack):
    class Detached(Counting):
        def forward(self, x):
            return super().forward(x).detach()

    model, (x, y) = Detached(), samples()
    with pytest.raises(ModelError, match="without a graph"):
        attack(model, x, y, "linf", indices=torch.arange(16), seed=0)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_bad_settings_and_unknown_norms_are_refused():
    for make in (DeepFool, FAB, TargetedFAB):
        with pytest.raises(UsageError, match="steps >= 1"):
            make(steps=0)
    with pytest.raises(UsageError, match="restarts=0"):
        FAB(restarts=0)
    for made in (lambda: DeepFool(classes=0), lambda: FAB(classes=0), lambda: TargetedFAB(targets=0)):
        with pytest.raises(UsageError, match="one wrong class or more, got 0"):
            made()
    for overshoot in (-0.1, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="overshoot is a share of the step"):
            DeepFool(overshoot=overshoot)
    for radii in ((), (0.1, 0.0), (float("inf"),), (float("nan"),)):
        with pytest.raises(UsageError, match="a ladder needs positive radii"):
            Ladder(APGD(), radii)
    with pytest.raises(UsageError, match="choose one of these"):
        norm_named("l0")


def test_names_and_costs_tell_the_settings():
    assert [a.name for a in (DeepFool(20), FAB(30), FAB(30, restarts=2), TargetedFAB(40, 3))] == [
        "deepfool-20",
        "fab-30",
        "fab-30x2",
        "fab-targeted-40x3",
    ]
    assert LADDER.name == "apgd-ce-20 at 4 radii"
    assert [a.cost for a in (DeepFool(20, classes=3), FAB(30, restarts=2, classes=4), TargetedFAB(40, 3), LADDER)] == [
        63,
        246,
        123,
        83,
    ]


def test_the_ladder_goes_down_while_its_attack_wins():
    """At each rung it is as good as the attack by itself, and stops after the first failure."""
    model, (x, y) = trained(), digits()
    rungs = (0.05, 0.1, 0.2)
    _, radius = Ladder(APGD(20), rungs)(model, x, y, "linf", indices=torch.arange(len(x)), seed=0)
    for rung in rungs:
        x_adv = APGD(20)(model, x, y, ball("linf", rung), indices=torch.arange(len(x)), seed=0)
        alone = (model(x_adv).argmax(1) == y).double().mean()
        assert abs(float((radius > rung).double().mean() - alone)) < 0.021
    model = Counting()
    x, y = samples()
    attack = Ladder(APGD(10), (1e-4, 2e-4, 3e-4))  # hopeless: one rung each
    attack(model, x, y, "linf", indices=torch.arange(16), seed=0)
    assert model.gradients <= 10 * 16


def digits(n=100):
    split = load_data("digits").split("test")
    return split.x[:n], split.y[:n]

"""Nets trained at once against the same nets trained one by one by the engine, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import DataError, ModelError, UsageError
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import Recipe, build
from brittle.results.training import TrainingHistory
from brittle.threats import L2Ball, LinfBall
from brittle.training.adversarial import TRADES, FastTraining, PGDTraining, UniversalTraining
from brittle.training.engine import Trained, train
from brittle.training.ensemble import engine, train_ensemble
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted
from brittle.training.protocols import Objective
from brittle.training.tracking import Tracker
from tests.training.toys import Counting, digits, mlp

FEW = 81  # batches of 32, 32 and 17: the last one is shorter
BASE = Dynamics(3, batch_size=32, learning_rate=3e-3)
MLP = Recipe("mlp", (1, 8, 8), 10, {"width": 12, "depth": 2})
CNN = Recipe("cnn", (1, 8, 8), 10, {"channels": [3, 4], "fc": 6})
NORMED = Recipe("cnn", (1, 8, 8), 10, {"channels": [3, 4], "fc": 6, "batch_norm": True}, mean=(0.3,), std=(0.4,))
LOW = Recipe("mlp", (1, 8, 8), 10, {"width": 12, "depth": 3, "ranks": [0, 3, 0, 0]})
SEEDS = (3, 11, 4)


def nets(recipe: Recipe) -> list[nn.Module]:
    return [build(recipe, seed=seed).double().train() for seed in SEEDS]


def both(
    models: Sequence[nn.Module], plans: Sequence[Plan], n: int = FEW, **more: Any
) -> tuple[list[Trained], tuple[Trained, ...]]:
    """Trained one by one, and at once."""
    alone = copy.deepcopy(list(models))
    single = [
        train(model, *digits(n), plan, seed=seed, **more) for model, plan, seed in zip(alone, plans, SEEDS, strict=True)
    ]
    return single, train_ensemble(models, *digits(n), plans, SEEDS, **more)


def far(a: nn.Module, b: nn.Module) -> float:
    """The largest difference between two nets' weights and buffers."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(float((p.double() - q.double()).abs().max()) for p, q in pairs)


def check_same(single: Sequence[Trained], together: Sequence[Trained], tolerance: float = 1e-8) -> None:
    for one, other in zip(single, together, strict=True):
        assert far(one.model, other.model) < tolerance
        assert not other.model.training
        check_same_history(one.history, other.history, tolerance)
    assert far(together[0].model, together[1].model) > 1e-3, "the members should differ"


def check_same_history(one: TrainingHistory, other: TrainingHistory, tolerance: float) -> None:
    assert replace(one, seconds=0.0, rows=()) == replace(other, seconds=0.0, rows=())
    assert len(one.rows) == len(other.rows)
    for a, b in zip(one.rows, other.rows, strict=True):
        assert (a.epoch, a.steps, a.gradients, a.learning_rate) == (b.epoch, b.steps, b.gradients, b.learning_rate)
        assert a.validation_accuracy == b.validation_accuracy
        assert (b.loss, b.validation_loss) == pytest.approx((a.loss, a.validation_loss), rel=tolerance)
        assert b.penalties == pytest.approx(a.penalties, rel=tolerance)
        assert a.tracked is None or b.tracked is not None


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_each_member_has_its_own_rate_decay_momentum_and_schedule(optimiser: str) -> None:
    rate = 1e-3 if optimiser.startswith("adam") else 0.05
    plans = [
        Plan(replace(BASE, optimiser=optimiser, learning_rate=rate, weight_decay=0.1, momentum=0.0)),
        Plan(replace(BASE, optimiser=optimiser, learning_rate=3 * rate, weight_decay=0.0, schedule="one-cycle")),
        Plan(replace(BASE, optimiser=optimiser, learning_rate=2 * rate, weight_decay=0.01, momentum=0.5)),
    ]
    models = nets(MLP)
    check_same(*both(models, plans))


@pytest.mark.parametrize("recipe", [CNN, NORMED, LOW], ids=["convolutions", "batch norm", "low rank"])
def test_every_kind_of_net(recipe: Recipe) -> None:
    plans = [Plan(replace(BASE, learning_rate=rate)) for rate in (1e-3, 3e-3, 1e-2)]
    check_same(*both(nets(recipe), plans))


@pytest.mark.parametrize(
    "dynamics",
    [
        replace(BASE, label_noise=0.3),
        replace(BASE, gradient_noise=HeavyTails(1.7, 0.002)),
        replace(BASE, clip=0.05),
        replace(BASE, epochs=1),
    ],
    ids=["label noise", "gradient noise", "clip", "one epoch"],
)
def test_noise_and_clipping_of_some_members(dynamics: Dynamics) -> None:
    plain = replace(BASE, epochs=dynamics.epochs)
    check_same(*both(nets(MLP), [Plan(dynamics), Plan(plain), Plan(replace(dynamics, learning_rate=1e-3))]))


@pytest.mark.parametrize("name", ["l1", "group_lasso_si", "nuclear", "nuclear_si_fast", "pq", "spectral", "alignment"])
def test_penalties_of_different_strength(name: str) -> None:
    plans = [Plan(BASE, penalties=(Weighted(name, strength),)) for strength in (0.0, 0.01, 0.1)]
    single, together = both(nets(LOW), plans)
    check_same(single, together)
    free = train(nets(LOW)[2], *digits(FEW), Plan(BASE), seed=SEEDS[2])
    assert far(free.model, together[2].model) > 1e-6, "the penalty should have pulled"


@pytest.mark.parametrize("recipe", [MLP, CNN, LOW], ids=["dense", "convolutions", "low rank"])
def test_the_scale_is_held_while_a_penalty_pulls(recipe: Recipe) -> None:
    plans = [Plan(BASE, penalties=(Weighted("nuclear", s),), hold_scale=True) for s in (0.3, 0.1, 0.0)]
    check_same(*both(nets(recipe), plans))


@pytest.mark.parametrize("recipe", [MLP, CNN], ids=["dense", "convolutions"])
def test_proximal_steps(recipe: Recipe) -> None:
    plans = [Plan(BASE, penalties=(Weighted("group_lasso", s, True),), layers=("fc*",)) for s in (200.0, 3.0, 0.0)]
    single, together = both(nets(recipe), plans)
    check_same(single, together)
    first = next(m for name, m in together[0].model.named_modules() if name == "fc1")
    assert (first.weight.flatten(1).norm(dim=1) < 1e-12).any(), "a strong proximal step should empty a neuron"


@pytest.mark.parametrize(
    "objective",
    [
        PGDTraining(LinfBall(0.1), steps=2, share=0.5),
        PGDTraining(L2Ball(0.8), steps=2, share=1.0),
        FastTraining(LinfBall(0.1)),
        TRADES(LinfBall(0.1), steps=2),
        UniversalTraining(LinfBall(0.1)),
    ],
    ids=lambda objective: objective.name,
)
@pytest.mark.parametrize("recipe", [MLP, NORMED], ids=["dense", "batch norm"])
def test_adversarial_training(objective: Objective, recipe: Recipe) -> None:
    plans = [Plan(replace(BASE, epochs=2, learning_rate=rate), objective) for rate in (1e-2, 3e-3, 1e-3)]
    check_same(*both(nets(recipe), plans), 1e-7)


def test_patience_runs_out_for_each_member_on_its_own() -> None:
    rates = (0.3, 1e-3, 0.05)
    plans = [Plan(Dynamics(12, 32, learning_rate=rate, patience=2, schedule="constant")) for rate in rates]
    single, together = both(nets(MLP), plans)
    check_same(single, together, 1e-6)
    lengths = [len(trained.history.rows) for trained in together]
    assert lengths[0] < lengths[1]
    assert together[0].history.stopped_early
    assert not together[1].history.stopped_early


def test_the_best_epoch_is_each_members_own() -> None:
    plans = [Plan(Dynamics(8, 32, learning_rate=rate, schedule="constant")) for rate in (0.1, 1e-2, 0.2)]
    single, together = both(nets(MLP), plans)
    check_same(single, together, 1e-6)
    best = [trained.history.best_epoch for trained in together]
    assert len(set(best)) > 1
    assert any(epoch < 8 for epoch in best)


def test_a_tracker_sees_each_member() -> None:
    plans = [Plan(replace(BASE, learning_rate=rate)) for rate in (1e-2, 3e-3, 1e-3)]
    tracker = Tracker((LinfBall(0.1),), every=2, samples=20)
    single, together = both(nets(MLP), plans, track=tracker)
    check_same(single, together)
    for one, other in zip(single, together, strict=True):
        assert [row.tracked is None for row in other.history.rows] == [True, False, False]
        for a, b in zip(one.history.rows, other.history.rows, strict=True):
            if a.tracked is not None and b.tracked is not None:
                assert a.tracked.attacked == b.tracked.attacked
                assert b.tracked.layers[0].frobenius == pytest.approx(a.tracked.layers[0].frobenius, rel=1e-9)


def test_a_recipe_is_built_with_each_seed_and_the_same_seeds_give_the_same_weights() -> None:
    plans = [Plan(BASE)] * 3
    seen: list[tuple[str, int, int]] = []
    first = train_ensemble(MLP, *digits(FEW), plans, SEEDS, progress=lambda *told: seen.append(told))
    torch.rand(7)
    again = train_ensemble(MLP, *digits(FEW), plans, SEEDS)
    alone = train(build(MLP, seed=11), *digits(FEW), plans[1], seed=11)
    assert [far(a.model, b.model) for a, b in zip(first, again, strict=True)] == [0.0] * 3
    assert far(alone.model, first[1].model) < 1e-3
    assert seen == [("training", epoch, 3) for epoch in (1, 2, 3)]


def test_the_members_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((100.0, 106.0))
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    together = train_ensemble(nets(MLP), *digits(FEW), [Plan(BASE)] * 3, SEEDS)
    assert [trained.history.seconds for trained in together] == [2.0] * 3


def test_the_global_random_state_and_frozen_parameters_stay() -> None:
    models = nets(MLP)
    for model in models:
        model.fc1.requires_grad_(False)
    before, state = copy.deepcopy(models[2].fc1.weight), torch.get_rng_state()
    single, together = both(models, [Plan(BASE)] * 3)
    check_same(single, together)
    assert torch.equal(before, models[2].fc1.weight)
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in models[0].parameters())


def with_layers(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), *layers, nn.Linear(12, 10))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.idle = mlp(), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


class Scaled(nn.Module):
    """A number that no printed form shows."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = mlp(), factor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y * self.factor


class Looking(nn.Module):
    """Decides by a value."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y if float(y.detach().sum()) > 0 else 2 * y


class Counted(nn.Module):
    """Replaces its buffer where it should change it in place: a stack would not hear of it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.register_buffer("calls", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls = self.calls + 1
        y: Tensor = self.inner(x)
        return y


class Mixed(nn.Module):
    """A last layer in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = mlp(), nn.Linear(10, 10, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.inner(x).double())
        return y


PLAIN = Plan(BASE)
LOW_RANK = with_layers(nn.ReLU(), LowRankLinear(12, 12, rank=3))


@pytest.mark.parametrize(
    ("models", "plans", "message"),
    [
        ([mlp(8), mlp(9)], [PLAIN] * 2, "the members differ in architecture"),
        ([mlp(), mlp().double()], [PLAIN] * 2, "the members differ in architecture"),
        ([mlp(), mlp()], [PLAIN, Plan(replace(BASE, epochs=4))], "the members differ in epochs"),
        ([mlp(), mlp()], [PLAIN, Plan(replace(BASE, batch_size=8))], "the members differ in batch size"),
        ([mlp(), mlp()], [PLAIN, Plan(replace(BASE, optimiser="sgd"))], "the members differ in optimiser"),
        ([mlp(), mlp()], [PLAIN, Plan(BASE, FastTraining(LinfBall(0.1)))], "the members differ in objective"),
        (
            [mlp(), mlp()],
            [PLAIN, Plan(BASE, penalties=(Weighted("l1", 0.1),))],
            r"the members differ in penalties \(their strengths may\)",
        ),
        ([mlp(), mlp()], [PLAIN, Plan(BASE, layers=("head",))], "the members differ in layers"),
        ([mlp(), mlp()], [PLAIN, Plan(BASE, hold_scale=True)], "the members differ in hold_scale"),
        (
            [mlp(), mlp()],
            [Plan(replace(BASE, optimiser="muon"))] * 2,
            "optimiser muon is none of sgd, momentum, nesterov, adam, adamw",
        ),
        ([mlp(), mlp()], [Plan(BASE, Counting())] * 2, "objective counting takes the samples of one member only"),
        (
            [LOW_RANK, copy.deepcopy(LOW_RANK)],
            [Plan(BASE, penalties=(Weighted("l1", 0.1, True),))] * 2,
            "3 is a low-rank layer, and there is a proximal step",
        ),
        ([Mixed(), Mixed()], [PLAIN] * 2, "the parameters have several number formats"),
        ([with_layers(nn.Dropout(0.3)) for _ in range(2)], [PLAIN] * 2, r"the architecture cannot be stacked \(.*"),
        ([Looking(), Looking()], [PLAIN] * 2, r"the architecture cannot be stacked \(.*"),
        ([Unused(), Unused()], [PLAIN] * 2, "a parameter has no part in the logits"),
        ([Counted(), Counted()], [PLAIN] * 2, "member 0 is not itself in a stack"),
        ([Scaled(1.0), Scaled(2.0)], [PLAIN] * 2, "member 1 is not itself in a stack"),
    ],
)
def test_what_cannot_be_trained_at_once_is_refused_before_any_work(
    models: list[nn.Module], plans: list[Plan], message: str
) -> None:
    before = [copy.deepcopy(model.state_dict()) for model in models]
    with pytest.raises(UsageError, match=f"^these nets cannot be trained at once: {message}; train_many sorts them$"):
        train_ensemble(models, *digits(FEW), plans, (0, 1))
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("models", "plans", "seeds"), [([], [], []), ([mlp()], [PLAIN] * 2, [0]), ([mlp()], [PLAIN], [])]
)
def test_lists_that_do_not_belong_together_are_refused(
    models: list[nn.Module], plans: list[Plan], seeds: list[int]
) -> None:
    message = f"one model, one plan and one seed for each member, got {len(models)}, {len(plans)} and {len(seeds)}$"
    with pytest.raises(UsageError, match=message):
        train_ensemble(models, *digits(FEW), plans, seeds)


def test_other_bad_input_is_refused() -> None:
    model, still = mlp(), mlp().requires_grad_(False)
    with pytest.raises(UsageError, match="a model is in the ensemble twice: give each member a copy of its own"):
        train_ensemble([model, model], *digits(FEW), [PLAIN] * 2, (0, 1))
    with pytest.raises(ModelError, match="the model has no parameters: nothing to train"):
        train_ensemble([model, still], *digits(FEW), [PLAIN] * 2, (0, 1))
    with pytest.raises(UsageError, match="cannot train on device 'cuda:99'"):
        train_ensemble([model, mlp()], *digits(FEW), [PLAIN] * 2, (0, 1), device="cuda:99")
    many = Split(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 12]))
    with pytest.raises(DataError, match="the model has 10 classes, the data have labels up to 12"):
        train_ensemble([model, mlp()], digits(4)[0], many, [PLAIN] * 2, (0, 1))


def test_a_lost_member_is_named_and_all_keep_their_best_weights() -> None:
    rates = (1e-3, 1e200, 1e-3)
    plans = [Plan(replace(BASE, optimiser="sgd", learning_rate=rate, schedule="constant")) for rate in rates]
    models = nets(MLP)
    before = copy.deepcopy(models)
    message = (
        r"^member 1 \(seed 11\): the loss is (nan|inf) at step \d in epoch 1 of 3: lower its learning rate \(1e\+200\)"
    )
    with pytest.raises(UsageError, match=message) as lost:
        train_ensemble(models, *digits(FEW), plans, SEEDS)
    with pytest.raises(UsageError, match="the loss is") as alone:
        train(copy.deepcopy(before[1]), *digits(FEW), plans[1], seed=11)
    assert str(lost.value).split(" at ")[1].split(":")[0] == str(alone.value).split(" at ")[1].split(":")[0]
    assert [far(a, b) for a, b in zip(models, before, strict=True)] == [0.0] * 3
    assert not any(model.training for model in models)


def test_a_lost_validation_is_named_too() -> None:
    rates = (1e-3, 1e-3, 1e200)
    plans = [Plan(replace(BASE, epochs=1, optimiser="sgd", learning_rate=rate)) for rate in rates]
    message = r"^member 2 \(seed 4\): the validation loss is (nan|inf) at step 1 in epoch 1 of 1: lower"
    with pytest.raises(UsageError, match=message):
        train_ensemble(nets(MLP), *digits(30), plans, SEEDS)

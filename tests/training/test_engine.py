"""The engine against a loop written out, step by step; what it refuses, and how a lost run ends."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import DataError, ModelError, UsageError
from brittle.evaluation.checkpoint import State
from brittle.models.layers import LowRankLinear
from brittle.results.serialise import from_dict, to_dict
from brittle.results.training import TrainingHistory
from brittle.training import added
from brittle.training.engine import train
from brittle.training.loop import Budget, fit
from brittle.training.matrices import structure_matrices
from brittle.training.noise import alpha_stable, noisy_labels, stream
from brittle.training.place import Here
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted
from tests.training.toys import TOYS, Counting, Ridge, digits, mlp, same

FEW = 150


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(added, "_penalty", TOYS.__getitem__)


def reference(model: nn.Module, parts: tuple[Split, Split], budget: Budget, seed: int) -> nn.Module:
    """Plain training as a textbook would write it."""
    data, validation = parts
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay)
    steps = budget.epochs * math.ceil(len(data) / budget.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept = (-1.0, 0.0), model.state_dict()
    for _ in range(budget.epochs):
        model.train()
        for chosen in torch.randperm(len(data), generator=order).split(budget.batch_size):
            optimiser.zero_grad()
            F.cross_entropy(model(data.x[chosen]), data.y[chosen]).backward()
            optimiser.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            logits = model(validation.x)
        accuracy = (logits.argmax(1) == validation.y).double().mean()
        score = (float(accuracy), -float(F.cross_entropy(logits, validation.y)))
        if score > best:
            best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model


def dropped() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Dropout(0.2), nn.ReLU(), nn.Linear(20, 10))


@pytest.mark.parametrize("make", [lambda: mlp(16, 2), dropped])
def test_fit_is_the_plain_loop_to_the_bit(make: Any) -> None:
    budget = Budget(epochs=6, learning_rate=3e-3)
    ours = make()
    theirs = copy.deepcopy(ours)
    fit(ours, *digits(), budget, seed=5)
    with torch.random.fork_rng(devices=[]):
        reference(theirs, digits(), budget, seed=5)
    assert same(ours.state_dict(), theirs.state_dict())


def run(plan: Plan, model: nn.Module | None = None, n: int = FEW, **more: Any) -> tuple[nn.Module, TrainingHistory]:
    trained = train(mlp(16, 2) if model is None else model, *digits(n), plan, seed=0, **more)
    return trained.model, trained.history


def one_step(plan: Plan, model: nn.Module, n: int = 20) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights before and after a run of one step on all n samples."""
    before = copy.deepcopy(model.state_dict())
    return before, run(plan, model, n)[0].state_dict()


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(F.cross_entropy(model(x), y), parameters), strict=True))


def sgd(**more: Any) -> Dynamics:
    return Dynamics(1, batch_size=20, optimiser="sgd", learning_rate=0.1, weight_decay=0.0, schedule="constant", **more)


def test_label_noise_stays_the_same_for_the_run() -> None:
    model, data = mlp(), digits(20)[0]
    grads = gradient(model, data.x, noisy_labels(data.y, 0.4, stream(0, "labels")))
    before, after = one_step(Plan(sgd(label_noise=0.4)), model)
    for name, g in grads.items():
        torch.testing.assert_close(after[name], before[name] - 0.1 * g)


def test_gradient_noise_and_then_the_clip() -> None:
    model, data = mlp(), digits(20)[0]
    grads, generator = gradient(model, data.x, data.y), stream(0, "gradients")
    noisy = {name: g + 0.01 * alpha_stable(g.shape, 1.5, generator).float() for name, g in grads.items()}
    norm = torch.stack([g.square().sum() for g in noisy.values()]).sum().sqrt()
    before, after = one_step(Plan(sgd(gradient_noise=HeavyTails(1.5, 0.01), clip=0.05)), model)
    assert norm > 0.05
    for name, g in noisy.items():
        torch.testing.assert_close(after[name], before[name] - 0.1 * 0.05 * g / norm, rtol=1e-4, atol=1e-6)


def test_a_penalty_adds_its_gradient_to_the_chosen_layers_only() -> None:
    model, data = mlp(), digits(20)[0]
    grads = gradient(model, data.x, data.y)
    before, after = one_step(Plan(sgd(), penalties=(Weighted("ridge", 0.5),)), model)
    grads["fc1.weight"] = grads["fc1.weight"] + 0.5 * before["fc1.weight"]
    for name, g in grads.items():
        torch.testing.assert_close(after[name], before[name] - 0.1 * g)


def test_a_proximal_penalty_is_a_step_after_the_step() -> None:
    model, data = mlp(), digits(20)[0]
    grads = gradient(model, data.x, data.y)
    plan = Plan(sgd(), penalties=(Weighted("ridge", 0.5, proximal=True),), layers=("head",))
    before, after = one_step(plan, model)
    stepped = {name: before[name] - 0.1 * g for name, g in grads.items()}
    stepped["head.weight"] = stepped["head.weight"] / (1 + 0.1 * 0.5)
    for name in stepped:
        torch.testing.assert_close(after[name], stepped[name])


@pytest.mark.parametrize("proximal", [False, True])
def test_the_scale_is_held_while_penalties_pull(proximal: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), LowRankLinear(12, 12, rank=3), nn.Linear(12, 10))
    start = {m.name: m.frobenius() for m in structure_matrices(model)}
    plan = Plan(Dynamics(2, learning_rate=1e-2), penalties=(Weighted("ridge", 5.0, proximal),), hold_scale=True)
    _, history = run(plan, model)
    end = {m.name: m.frobenius() for m in structure_matrices(model)}
    assert history.settings.layers == ("1", "3")
    for name in ("1", "3"):
        assert end[name] == pytest.approx(start[name], rel=1e-6)
    assert end["4"] != pytest.approx(start["4"], rel=1e-4)
    free, _ = run(Plan(Dynamics(2, learning_rate=1e-2), penalties=(Weighted("ridge", 5.0, proximal),)), model)
    assert structure_matrices(free)[0].frobenius() < 0.999 * start["1"]


def test_the_objectives_losses_and_cost_are_booked() -> None:
    seen: list[int] = []
    _, history = run(Plan(Dynamics(2, batch_size=50), Counting(seen.append), (Weighted("ridge", 0.0),)))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [row.steps for row in history.rows] == [3, 6]
    assert [row.gradients for row in history.rows] == [3.0 * FEW, 6.0 * FEW]
    assert history.settings.objective == "counting"
    assert history.rows[-1].loss < history.rows[0].loss


def test_the_row_is_what_an_epoch_was() -> None:
    plan = Plan(sgd(), penalties=(Weighted("ridge", 0.0),))
    model, (data, validation) = mlp(), digits(20)
    expected = float(F.cross_entropy(model(data.x), data.y).detach())
    trained, history = run(plan, model, 20)
    row = history.rows[0]
    with torch.no_grad():
        assert row.validation_loss == pytest.approx(float(F.cross_entropy(trained(validation.x), validation.y)))
        assert row.validation_accuracy == float((trained(validation.x).argmax(1) == validation.y).double().mean())
    assert (row.epoch, row.learning_rate, row.loss) == (1, 0.1, pytest.approx(expected, rel=1e-5))
    assert row.penalties["ridge"] == pytest.approx(float(Ridge().value([trained.fc1.weight.detach()])), rel=1e-5)
    assert history.best_epoch == 1
    assert history.parameters == sum(p.numel() for p in trained.parameters())
    assert from_dict(TrainingHistory, to_dict(history)) == history


def test_patience_counts_epochs_without_a_better_loss() -> None:
    _, history = run(Plan(Dynamics(60, learning_rate=0.1, patience=2, schedule="constant")))
    losses = [row.validation_loss for row in history.rows]
    assert history.stopped_early
    assert len(losses) < 60
    assert min(losses) == losses[-3]
    assert all(min(losses[: i + 1]) < min(losses[: i - 1]) for i in range(2, len(losses) - 1)), "it should have stopped"
    assert not run(Plan(Dynamics(2, patience=2)))[1].stopped_early


def test_frozen_parameters_do_not_move() -> None:
    model = mlp()
    model.fc1.requires_grad_(False)
    before, after = one_step(Plan(Dynamics(1, gradient_noise=HeavyTails(2.0, 0.1))), model)
    assert torch.equal(before["fc1.weight"], after["fc1.weight"])
    assert not torch.equal(before["head.weight"], after["head.weight"])
    model.requires_grad_(False)
    with pytest.raises(ModelError, match="no parameters: nothing to train"):
        run(Plan(Dynamics(1)), model)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw", "muon"])
def test_every_optimiser_learns_with_every_schedule(name: str) -> None:
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    rate = {"sgd": 0.5, "momentum": 0.1, "nesterov": 0.1}.get(name, 1e-2)
    for schedule in ("constant", "one-cycle") if name == "sgd" else ("warm-cosine",):
        plan = Plan(Dynamics(6, batch_size=10, optimiser=name, learning_rate=rate, schedule=schedule))
        assert run(plan)[1].rows[-1].loss < 1.9, "chance is 2.30"


def test_a_lost_run_says_when_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    class Breaking(nn.Module):
        """Its 9th batch in training is the end; weights of steps before that one are good."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = mlp(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            y: Tensor = self.inner(x)
            return y * torch.nan if self.training and self.calls == 9 else y

    model = Breaking()
    good: list[dict[str, Tensor]] = []

    def watch(stage: str, done: int, total: int) -> None:
        good.append(copy.deepcopy(model.state_dict()))

    message = rf"^the loss is nan at step 9 in epoch 3 of 4: lower .*; the last good checkpoint is kept in {tmp_path}$"
    with pytest.raises(UsageError, match=message):
        train(
            model, *digits(FEW), Plan(Dynamics(4, batch_size=50)), seed=0, checkpoints=tmp_path, every=0, progress=watch
        )
    assert any(same(model.state_dict(), state) for state in good), "the weights of the best epoch so far"
    assert not model.training
    (file,) = tmp_path.glob("*.safetensors")
    assert _state(file).values["step"] == 7, "state 8 is the one whose loss was no number"


def _state(file: Path) -> State:
    import json

    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return State({k: opened.get_tensor(k) for k in opened.keys()}, json.loads(opened.metadata()["values"]))  # noqa: SIM118


def test_what_does_not_fit_is_refused_before_any_work() -> None:
    small = Split(torch.rand(4, 1, 5, 5), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(
        ModelError, match=r"does not take samples of shape \(1, 5, 5\) \(RuntimeError: .*\): give a model"
    ):
        train(mlp(), small, small, Plan(Dynamics(1)), seed=0)
    many = Split(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 12]))
    with pytest.raises(DataError, match="the model has 10 classes, the data have labels up to 12: give a model"):
        train(mlp(), digits(4)[0], many, Plan(Dynamics(1)), seed=0)
    with pytest.raises(
        ModelError, match=r"expected logits of shape \(2, classes\) from the model, got \(2, 1, 8, 64\)"
    ):
        train(nn.Linear(8, 64), *digits(4), Plan(Dynamics(1)), seed=0)
    with pytest.raises(UsageError, match=r"no layer matches 'conv\*': the model's layers are fc1, head"):
        train(mlp(), *digits(4), Plan(Dynamics(1), layers=("conv*",)), seed=0)
    with pytest.raises(UsageError, match="penalty plain has no proximal step: add it to the loss"):
        train(mlp(), *digits(4), Plan(Dynamics(1), penalties=(Weighted("plain", 1.0, True),)), seed=0)
    with pytest.raises(UsageError, match=r"cannot train on device 'nowhere' .*: give cpu"):
        train(mlp(), *digits(4), Plan(Dynamics(1)), seed=0, place=Here("nowhere"))
    one = Split(torch.rand(4, 1, 8, 8), torch.tensor([1, 1, 1, 1]))
    with pytest.raises(UsageError, match="label noise needs at least 2 classes"):
        train(mlp(), one, one, Plan(Dynamics(1, label_noise=0.5)), seed=0)


def test_the_place_can_be_named() -> None:
    _, history = run(Plan(Dynamics(1)), mlp().double(), place=Here("cpu"))
    assert (history.settings.device, history.settings.precision) == ("cpu", "float64")

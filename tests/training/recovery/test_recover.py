"""Recovery as a whole: what it costs, what it gives back, what it leaves alone, how it goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import DataError, ModelError, UsageError
from brittle.threats import LinfBall
from brittle.training.place import Here
from brittle.training.recovery import Recovery, recover
from brittle.training.recovery import rates as rates_module
from tests.training.recovery.nets import child, factored, few, parent, weights
from tests.training.toys import digits, same

BALL = LinfBall(0.05)


class Metered(nn.Module):
    """Counts samples whose gradient is taken: passes that record a graph and are differentiated."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.taken: list[int] = []

    def __deepcopy__(self, memo: object) -> Metered:
        twin = Metered(copy.deepcopy(self.inner))
        twin.taken = self.taken  # copies count together
        return twin

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        if y.requires_grad:
            y.register_hook(lambda gradient: self.taken.append(len(gradient)))
        return y


@pytest.mark.parametrize(
    "how",
    [
        Recovery("plain", 2.5, batch_size=16, learning_rate=1e-3),
        Recovery("adversarial", 8, BALL, steps=3, batch_size=16, learning_rate=1e-3),
        Recovery("adversarial", 2.5, BALL, steps=5, batch_size=16, learning_rate=1e-3),
        Recovery("adversarial", 5, BALL, steps=3, share=0.5, batch_size=16, learning_rate=1e-3),
        Recovery("trades", 8, BALL, steps=2, batch_size=16, learning_rate=1e-3),
        Recovery("distil", 8, BALL, steps=3, batch_size=16, learning_rate=1e-3),
        Recovery("distil", 2, batch_size=16, learning_rate=1e-3),
    ],
    ids=lambda how: f"{how.kind}-{how.budget:g}",
)
def test_the_budget_is_what_is_really_spent(how: Recovery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backward pass of the child is counted; judging is not part of the budget, so it is left out."""
    from brittle.training.judge import RobustJudge
    from brittle.training.protocols import Judged

    monkeypatch.setattr(RobustJudge, "__call__", lambda self, model, validation, *, seed: Judged((0.5, 0.5), 0.5))
    model = Metered(child())
    data, validation = few(128)
    found = recover(model, parent(), data, validation, how, seed=0)
    # TRADES differentiates one loss through two passes at once: they are 2 of its 2 + steps.
    assert sum(model.taken) / len(data) == pytest.approx(found.spent)
    assert found.spent <= how.budget
    assert found.spent > how.budget - 16 * 6 / 128


def test_trials_are_paid_from_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "TRIAL_STEPS", 2)
    data, validation = few(128)
    model = Metered(child())
    how = Recovery("plain", 20, batch_size=16)
    found = recover(model, parent(), data, validation, how, seed=0)
    assert [trial.learning_rate for trial in found.trials] == list(rates_module.RATES["adamw"])
    assert [trial.gradients for trial in found.trials] == [1.0, 1.0, 1.0]
    assert sum(model.taken) / 128 == pytest.approx(found.spent) == pytest.approx(20)
    best = max(trial.rank for trial in found.trials if trial.rank)
    assert next(t.learning_rate for t in found.trials if t.rank == best) == found.learning_rate
    assert found.history.settings.learning_rate == found.learning_rate
    assert found.seconds >= found.history.seconds


@pytest.mark.parametrize("kind", ["plain", "distil"])
def test_a_child_recovers_and_nothing_else_changes(kind: str) -> None:
    small, teacher = child().train(), parent()
    before, taught = weights(small), weights(teacher)
    state = torch.random.get_rng_state()
    found = recover(small, teacher, *digits(), Recovery(kind, 5), seed=0)
    assert found.after.rank[0] > found.before.rank[0] + 0.05
    assert same(before, weights(small))
    assert same(taught, weights(teacher))
    assert small.training
    assert not found.model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (found.best_epoch, len(found.history.rows)) == (found.history.best_epoch, 5)
    right = (found.model(digits()[1].x).argmax(1) == digits()[1].y).double().mean()
    assert float(right) == found.after.rank[0]


def test_with_a_threat_it_becomes_robust() -> None:
    data, validation = digits()
    plain = recover(child(16), parent(), data, validation, Recovery("distil", 4), seed=0)
    how = Recovery("adversarial", 36, BALL, steps=3, learning_rate=5e-3)
    robust = recover(child(16), parent(), data, validation, how, seed=0)
    again = recover(plain.model, parent(), data, validation, how, seed=0)
    assert robust.after.rank[0] > robust.before.rank[0] + 0.2
    seen = robust.after.seen
    assert seen is not None
    assert seen.attacked[0].accuracy == robust.after.rank[0]
    assert again.before.rank[0] < robust.after.rank[0]
    accuracies = [row.tracked.attacked[0].accuracy for row in robust.history.rows if row.tracked]
    assert max(accuracies) == robust.after.rank[0], "the epoch that is best under attack is kept"


def test_what_only_gets_worse_is_given_back_as_it_was() -> None:
    start = parent()
    found = recover(start, start, *few(32), Recovery("plain", 2, learning_rate=3.0, batch_size=16), seed=0)
    assert found.best_epoch == 0
    assert found.after == found.before
    assert same(weights(found.model), weights(start))
    assert found.model is not start
    assert not found.model.training


def test_patience_stops_early_and_spends_less() -> None:
    how = Recovery("plain", 60, learning_rate=0.1, patience=2, schedule="constant")
    found = recover(child(), parent(), *few(), how, seed=0)
    assert found.history.stopped_early
    assert found.spent == len(found.history.rows) < 60


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 3, 5, 9, 17])
def test_it_goes_on_from_any_moment_to_the_same_bits(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within a trial of a learning rate, between trials, or in the run itself."""
    monkeypatch.setattr(rates_module, "TRIAL_STEPS", 2)
    how = Recovery("distil", 16, BALL, steps=1, batch_size=32, penalties={"beta_control": 0.1})
    told: list[str] = []

    def halted(stage: str, done: int, total: int) -> None:
        told.append(stage)
        if len(told) == stop:
            raise StoppedError

    whole = recover(child(), parent(), *few(256), how, seed=0)
    with pytest.raises(StoppedError):
        recover(child(), parent(), *few(256), how, seed=0, checkpoints=tmp_path, every=0.0, progress=halted)
    steps: list[tuple[str, int, int]] = []
    again = recover(
        child(),
        parent(),
        *few(256),
        how,
        seed=0,
        checkpoints=tmp_path,
        every=0.0,
        progress=lambda stage, done, total: steps.append((stage, done, total)),
    )
    assert same(weights(whole.model), weights(again.model))
    assert whole.trials == again.trials
    assert whole.history.rows == again.history.rows
    assert whole.spent == again.spent
    of_the_run = [step for step in steps if step[0] == "recovery"]
    assert of_the_run[-1][1] == of_the_run[-1][2] == whole.history.rows[-1].steps
    if stop > 3:  # a state is written once the step after it proved good
        alone: list[int] = []
        recover(child(), parent(), *few(256), how, seed=0, progress=lambda stage, done, total: alone.append(total))
        assert len(steps) < len(alone), "it began at the beginning instead of going on"


def test_a_finished_one_answers_at_once(tmp_path: Path) -> None:
    how = Recovery("plain", 2, learning_rate=1e-3)
    first = recover(child(), parent(), *few(), how, seed=0, checkpoints=tmp_path)
    told: list[str] = []
    again = recover(
        child(), parent(), *few(), how, seed=0, checkpoints=tmp_path, progress=lambda stage, d, t: told.append(stage)
    )
    assert same(weights(first.model), weights(again.model))
    assert "recovery" not in told
    assert first.best_epoch == again.best_epoch


def test_another_parent_is_another_distillation(tmp_path: Path) -> None:
    how = Recovery("distil", 2, learning_rate=1e-3)
    first = recover(child(), parent(), *few(), how, seed=0, checkpoints=tmp_path)
    other = copy.deepcopy(parent())
    with torch.no_grad():
        other.head.bias[0] += 5
    second = recover(child(), other, *few(), how, seed=0, checkpoints=tmp_path)
    assert not same(weights(first.model), weights(second.model))


def test_zeros_and_conditions_are_held() -> None:
    pruned = child()
    with torch.no_grad():
        pruned.fc1.weight[pruned.fc1.weight.abs() < 0.1] = 0.0
    zeros = pruned.fc1.weight == 0
    how = Recovery("plain", 3, learning_rate=0.02, hold_zeros=True)
    found = recover(pruned, parent(), *few(), how, seed=0)
    assert found.best_epoch > 0
    assert torch.equal(found.model.fc1.weight == 0, zeros)
    held = recover(factored(), parent(), *few(), Recovery("plain", 3, learning_rate=0.02, tau=1.5), seed=0)
    product = held.model[1].second.weight @ held.model[1].first.weight
    values = torch.linalg.svdvals(product.detach())[:4]
    assert held.best_epoch > 0
    assert float(values[0] / values[-1]) < 1.5 * (1 + 1e-4)


def test_the_scale_is_held_where_it_is_asked_for() -> None:
    how = Recovery("plain", 3, learning_rate=5e-3, hold_scale=True, layers=("fc1",))
    found = recover(child(), parent(), *digits(), how, seed=0)
    assert found.best_epoch > 0
    assert float(found.model.fc1.weight.norm().detach()) == pytest.approx(float(child().fc1.weight.norm().detach()))
    assert float(found.model.head.weight.norm().detach()) != pytest.approx(float(child().head.weight.norm().detach()))


def test_a_plain_recovery_can_be_judged_under_attack() -> None:
    """The same training, another epoch: the more it learns, the less it withstands."""
    how = Recovery("plain", 12, learning_rate=0.03, schedule="constant", judged=LinfBall(0.12))
    found = recover(child(16), parent(), *digits(), how, seed=0)
    means = [(row.tracked.attacked[0].accuracy + row.tracked.clean) / 2 for row in found.history.rows if row.tracked]
    assert found.after.rank[0] == pytest.approx(max(means))
    assert found.best_epoch == 1 + means.index(max(means))


@pytest.mark.parametrize(
    ("name", "start", "layers", "rate"),
    [
        ("beta_control", child, ("fc1",), 1e-3),
        ("alignment", child, ("*",), 5e-3),
        ("orthonormality", factored, ("1",), 5e-3),
        ("condition", factored, ("1",), 5e-3),
    ],
)
def test_penalties_pull_by_name(
    name: str, start: Callable[[], nn.Module], layers: tuple[str, ...], rate: float
) -> None:
    def end(strength: float) -> float:
        how = Recovery("plain", 8, learning_rate=rate, penalties={name: strength}, layers=layers)
        return recover(start(), parent(), *few(), how, seed=0).history.rows[-1].penalties[name]

    assert end(10.0) < 0.9 * end(0.0)


def test_batch_norm_recovers_with_the_statistics_of_its_inputs() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)).eval()
    with torch.no_grad():
        net[2].running_mean.fill_(30)  # as wrong as after a brutal pruning
    data, validation = digits()
    found = recover(net, net, data, validation, Recovery("adversarial", 12, BALL, steps=2, learning_rate=5e-3), seed=0)
    with torch.no_grad():
        received = found.model[1](found.model[0](data.x))
    assert float((found.model[2].running_mean - received.mean(0)).abs().max()) < 0.2
    assert found.after.rank[1] > 0.6
    assert float(net[2].running_mean[0]) == 30


def test_the_statistics_are_right_before_the_first_step() -> None:
    """A single step moves running statistics by a tenth of the way: they must be right without it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)).eval()
    with torch.no_grad():
        net[2].running_mean.fill_(30)
    data, validation = few(128)
    found = recover(net, net, data, validation, Recovery("plain", 1, learning_rate=1e-4), seed=0)
    assert (found.history.rows[-1].steps, found.best_epoch) == (1, 1)
    with torch.no_grad():
        torch.testing.assert_close(found.model[2].running_mean, net[1](net[0](data.x)).mean(0), rtol=0, atol=1e-2)


def test_what_cannot_be_recovered_is_refused_before_any_work() -> None:
    how = Recovery("plain", 1)
    still = child().requires_grad_(False)
    with pytest.raises(ModelError, match="the child has no parameters to train: nothing to recover"):
        recover(still, parent(), *few(), how, seed=0)
    small = Split(torch.rand(4, 1, 5, 5), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ModelError, match="does not take samples of shape"):
        recover(child(), parent(), small, small, how, seed=0)
    many = Split(few()[0].x, few()[0].y + 5)
    with pytest.raises(DataError, match="the model has 10 classes"):
        recover(child(), parent(), many, many, how, seed=0)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
    with pytest.raises(ModelError, match=r"the child has 10 classes, its parent \(7,\): give the net it was made of"):
        recover(child(), other, *few(), how, seed=0)
    with pytest.raises(UsageError, match="does not pay for one batch"):
        recover(child(), parent(), *few(), Recovery("plain", 0.01), seed=0)
    with pytest.raises(UsageError, match="no weight is zero"):
        recover(child(), parent(), *few(), Recovery("plain", 1, learning_rate=1e-3, hold_zeros=True), seed=0)
    with pytest.raises(UsageError, match="cannot train on device 'nowhere'"):
        recover(child(), parent(), *few(), how, seed=0, place=Here("nowhere"))

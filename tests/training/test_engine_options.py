"""What else a plan can ask of the engine: a number of steps, holds, a judge; and what a lost run says of its folder."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.results.training import Tracked, TrackedAccuracy
from brittle.threats import LinfBall
from brittle.training.engine import train
from brittle.training.engine_run import LostRunError
from brittle.training.ensemble.engine import train_ensemble
from brittle.training.held import Zeros
from brittle.training.looks import accuracies_alone
from brittle.training.plan import Dynamics, Plan
from brittle.training.protocols import Judged
from brittle.training.tracking import Tracker
from tests.training.toys import Counting, digits, mlp, same


def how(epochs: int = 3, steps: int | None = None, **more: object) -> Dynamics:
    return Dynamics(epochs, batch_size=40, learning_rate=1e-2, steps=steps, **more)  # type: ignore[arg-type]


def test_a_run_of_steps_ends_within_an_epoch_and_the_schedule_with_it() -> None:
    calls: list[int] = []
    history = train(mlp(), *digits(160), Plan(how(3, 6, schedule="one-cycle"), Counting(calls.append)), seed=0).history
    assert calls == [1, 2, 3, 4, 5, 6]
    assert [(row.epoch, row.steps, row.gradients) for row in history.rows] == [(1, 4, 480.0), (2, 6, 720.0)]
    assert history.rows[-1].learning_rate == pytest.approx(1e-2 / 25e4), "the rate has fallen to its end"


def test_the_last_look_is_taken_where_the_steps_end() -> None:
    tracker = Tracker(every=7, samples=20)
    rows = train(mlp(), *digits(160), Plan(how(9, 6)), seed=0, track=tracker).history.rows
    assert [row.tracked is not None for row in rows] == [False, True]


@pytest.mark.parametrize("stop", [2, 5, 6])
def test_a_run_of_steps_goes_on_to_the_same_bits(stop: int, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def told(call: int) -> None:
        if call == stop:
            raise StoppedError

    def go(objective: Counting, folder: Path | None) -> dict[str, Tensor]:
        plan = Plan(how(2, 6), objective)
        return train(mlp(), *digits(160), plan, seed=0, checkpoints=folder, every=0.0).model.state_dict()

    with pytest.raises(StoppedError):
        go(Counting(told), tmp_path)
    assert same(go(Counting(), tmp_path), go(Counting(), None))


def test_steps_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="steps must be at least 1, got 0: leave it out to train for all epochs"):
        how(1, 0)


def test_it_trains_where_gradients_are_switched_off() -> None:
    with torch.no_grad():
        off = train(mlp(), *digits(100), Plan(how(1)), seed=0).model
    assert same(off.state_dict(), train(mlp(), *digits(100), Plan(how(1)), seed=0).model.state_dict())


def test_each_step_is_told() -> None:
    told: list[tuple[int, int]] = []
    train(mlp(), *digits(100), Plan(how(2, 4)), seed=0, stepped=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@dataclass(frozen=True)
class Halving:
    """After every step, and told of the end of an epoch."""

    told: list[int | None] = field(default_factory=list, repr=False)
    name: str = "halving"

    def start(self, model: nn.Module) -> Halving:
        self.told.append(len(list(model.parameters())))
        return self

    def __call__(self, step: int | None) -> None:
        self.told.append(step)


def test_holds_are_asked_after_each_step_and_before_an_epoch_is_scored() -> None:
    hold = Halving()
    train(mlp(), *digits(80), Plan(how(2), holds=(hold,)), seed=0)
    assert hold.told == [4, 1, 2, None, 3, 4, None]


@dataclass(frozen=True)
class Lowest:
    """The epoch with the smallest first weight is the best; patience hears that nothing ever gets better."""

    lost: float = 100.0

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Judged:
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
        torch.manual_seed(seed + 99)  # a judge may seed the global state
        size = float(next(model.parameters()).norm())
        seen = TrackedAccuracy("linf", 0.5, f"size {size:.6f}", 0.25, (0.1, 0.4))
        return Judged((1 / size, 0.0), self.lost, accuracies_alone(7, 0.5, (seen,)))


def test_the_judge_says_which_epoch_is_best_and_the_row_what_it_saw() -> None:
    model, sizes = nn.Sequential(mlp(), nn.Dropout(0.0)), []
    plan = Plan(how(5), judge=Lowest())

    def watch(stage: str, done: int, total: int) -> None:
        sizes.append(float(next(model.parameters()).detach().norm()))

    trained = train(model, *digits(160), plan, seed=0, progress=watch)
    best = min(range(5), key=sizes.__getitem__)
    assert trained.history.best_epoch == best + 1
    assert best != max(range(5), key=lambda i: trained.history.rows[i].validation_accuracy), "choose another setting"
    assert float(next(trained.model.parameters()).norm()) == sizes[best]
    rows = trained.history.rows
    assert [row.tracked.attacked[0].attack for row in rows if row.tracked] == [f"size {size:.6f}" for size in sizes]


def test_a_judge_changes_nothing_about_the_steps() -> None:
    model = nn.Sequential(mlp(), nn.Dropout(0.3))
    plain = train(copy.deepcopy(model), *digits(160), Plan(how(3)), seed=0)
    judged = train(model, *digits(160), Plan(how(3), judge=Lowest()), seed=0)
    assert [row.loss for row in plain.history.rows] == [row.loss for row in judged.history.rows]


def test_patience_listens_to_the_judge() -> None:
    history = train(mlp(), *digits(160), Plan(how(9, patience=2), judge=Lowest()), seed=0).history
    assert (len(history.rows), history.stopped_early) == (3, True)


def test_the_trackers_record_keeps_what_it_saw_beside_the_judges() -> None:
    tracker = Tracker((LinfBall(0.1),), every=1, samples=20)
    rows = train(mlp(), *digits(80), Plan(how(1), judge=Lowest()), seed=0, track=tracker).history.rows
    tracked = rows[0].tracked
    assert isinstance(tracked, Tracked)
    assert (tracked.n, len(tracked.layers)) == (20, 2)
    assert [seen.epsilon for seen in tracked.attacked] == [0.1, 0.5]


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        (Plan(how(1), holds=(Zeros(),)), "holds"),
        (Plan(how(1), judge=Lowest()), "a judge"),
        (Plan(how(1, 2)), "a number of steps"),
    ],
)
def test_ensembles_refuse_what_is_for_one_net(plan: Plan, what: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be trained at once: the plan has {what}, which is for one net"):
        train_ensemble([mlp(), mlp()], *digits(40), [plan, plan], (0, 1))


class Breaking(nn.Module):
    """The loss of its batch number `at` in training is no number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.inner, self.calls, self.at = mlp(), 0, at

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        y: Tensor = self.inner(x)
        return y * torch.nan if self.training and self.calls == self.at else y


@pytest.mark.parametrize(
    ("at", "every", "end"),
    [
        (1, 0.0, "which starts from the beginning"),
        (3, 1e6, "which starts from the beginning"),
        (3, 0.0, "which starts from the beginning; the last good checkpoint is kept in {}"),
    ],
)
def test_a_checkpoint_is_spoken_of_only_where_there_is_one(at: int, every: float, end: str, tmp_path: Path) -> None:
    with pytest.raises(LostRunError) as caught:
        train(Breaking(at), *digits(160), Plan(how()), seed=0, checkpoints=tmp_path, every=every)
    assert str(caught.value).endswith("lower the learning rate (0.01), " + end.format(tmp_path))
    assert bool(list(tmp_path.glob("*.safetensors"))) == ("kept" in end)


def test_a_checkpoint_of_an_earlier_sitting_is_spoken_of_too(tmp_path: Path) -> None:
    with pytest.raises(LostRunError):
        train(Breaking(3), *digits(160), Plan(how()), seed=0, checkpoints=tmp_path, every=0.0)
    with pytest.raises(LostRunError, match="the last good checkpoint is kept in"):
        train(Breaking(1), *digits(160), Plan(how()), seed=0, checkpoints=tmp_path, every=1e6)


def test_a_lower_rate_in_the_folder_of_a_lost_run_starts_from_the_beginning(tmp_path: Path) -> None:
    """As the message says: what was reached at the rate that failed has no part in it."""
    with pytest.raises(LostRunError):
        train(Breaking(3), *digits(160), Plan(how()), seed=0, checkpoints=tmp_path, every=0.0)
    lower = Plan(Dynamics(1, batch_size=40, learning_rate=1e-3))
    there = train(Breaking(0), *digits(160), lower, seed=0, checkpoints=tmp_path, every=0.0)
    alone = train(Breaking(0), *digits(160), lower, seed=0)
    assert there.history.rows == alone.history.rows
    assert same(there.model.state_dict(), alone.model.state_dict())

"""Catastrophic overfitting is seen where it is, not seen where it is not, and ends a run cleanly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from brittle.attacks.fgsm import FGSM
from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.intervals import wilson
from brittle.results.training import Tracked, TrackedAccuracy
from brittle.threats import Ball, L2Ball, LinfBall
from brittle.training.adversarial import FastTraining, OverfittingWatch, overfitting
from brittle.training.engine import train
from brittle.training.plan import Dynamics, Plan
from brittle.training.tracking import Tracker
from tests.training.toys import digits, mlp

THREAT = LinfBall(0.1)


@dataclass(frozen=True)
class Darker:
    """Stands for an attack of many steps that is not misled: every pixel as dark as the ball allows."""

    name: str = "darker"
    cost: int = 2

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, indices: Tensor, seed: int) -> Tensor:
        return (x - 0.99 * threat.epsilon).clamp(0, 1)


class Masked(nn.Module):
    """Right as long as the picture is not much darker; its gradient says nothing, so a single step is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        bright = (x.flatten(1).mean(1) > 0.45).float() + 0 * x.flatten(1).sum(1)
        return self.scale * torch.stack([1 - bright, bright], 1)


def bright(n: int) -> Split:
    """Grey images of class 1, and one dark image in ten of class 0."""
    y = (torch.arange(n) % 10 > 0).long()
    return Split(torch.where(y == 1, 0.5, 0.1)[:, None, None, None].expand(n, 1, 4, 4).contiguous(), y)


def look(clean: float, single: float, several: float, n: int = 200) -> Tracked:
    def row(name: str, share: float) -> TrackedAccuracy:
        return TrackedAccuracy("linf", 0.1, name, share, wilson(round(share * n), n))

    pair = (row("pgd-ce-1", single), row("pgd-margin-10", several))
    return Tracked(n, clean, pair, 0.1, (), {}, "made by hand")


def test_a_misled_single_step_is_found_and_reported() -> None:
    tracked = OverfittingWatch(THREAT, several=Darker(), stop=False)(Masked(), bright(200), seed=0)
    assert tracked.clean == 1.0
    assert {a.attack: a.accuracy for a in tracked.attacked} == {"pgd-ce-1": 1.0, "darker": 0.1}
    found = overfitting([tracked], 0.1)
    assert (found.check, found.verdict) == ("catastrophic overfitting", "problem")
    assert "a single step leaves 100 % of the validation samples right, darker 10 %" in found.advice
    assert "train with several steps" in found.advice


def test_a_collapse_ends_the_run_in_one_line() -> None:
    with pytest.raises(
        UsageError, match=r"^catastrophic overfitting: at linf 0\.1 a single step leaves 100 %"
    ) as caught:
        OverfittingWatch(THREAT, several=Darker())(Masked(), bright(200), seed=0)
    assert "\n" not in str(caught.value)


def test_a_net_no_better_than_chance_is_let_go_on() -> None:
    data = bright(200)
    swapped = Split(data.x, 1 - data.y)  # always wrong
    OverfittingWatch(THREAT, several=Darker())(Masked(), swapped, seed=0)
    constant = Split(data.x[data.y == 1], data.y[data.y == 1])  # one class alone: right by chance
    OverfittingWatch(THREAT, several=Darker())(Masked(), constant, seed=0)


def test_real_nets_that_did_not_collapse_are_ok() -> None:
    train_part, validation = digits(400)
    for objective_epsilon, epochs in ((0.05, 4), (0.1, 4)):
        threat = LinfBall(objective_epsilon)
        plan = Plan(Dynamics(epochs=epochs, learning_rate=1e-2), FastTraining(threat))
        found = train(mlp(32), train_part, validation, plan, seed=0, track=OverfittingWatch(threat, samples=100))
        seen = [row.tracked for row in found.history.rows if row.tracked is not None]
        assert len(seen) == epochs
        assert overfitting(seen, 0.1).verdict == "ok"
        assert found.history.start is not None
        assert found.history.start.layers == ()


def test_the_conditions() -> None:
    assert overfitting([look(0.9, 0.8, 0.02)], 0.1).verdict == "problem"
    assert overfitting([look(0.9, 0.8, 0.7)], 0.1).verdict == "ok"
    assert overfitting([look(0.9, 0.2, 0.0)], 0.1).verdict == "ok"  # not robust against one step either
    assert overfitting([look(0.9, 0.8, 0.35)], 0.1).verdict == "ok"  # less than half, but not beyond the intervals
    assert overfitting([look(0.9, 0.8, 0.35, n=20000)], 0.1).verdict == "problem"
    assert overfitting([look(0.12, 0.1, 0.0)], 0.1).verdict == "ok"  # has learnt nothing yet
    assert overfitting([look(0.12, 0.1, 0.0)], 0.01).verdict == "problem"


def test_one_bad_look_is_enough_and_is_the_one_that_is_named() -> None:
    found = overfitting([look(0.9, 0.8, 0.7), look(0.9, 0.85, 0.01), look(0.9, 0.75, 0.7)], 0.1)
    assert found.verdict == "problem"
    assert "85 %" in found.advice
    fine = overfitting([look(0.9, 0.8, 0.7), look(0.9, 0.75, 0.71)], 0.1)
    assert "75 %" in fine.advice
    assert "71 %" in fine.advice


def test_the_strongest_attack_of_the_same_ball_counts() -> None:
    seen = look(0.9, 0.8, 0.7)
    weak, strong = seen.attacked[1], replace(seen.attacked[1], attack="apgd", accuracy=0.0, interval95=wilson(0, 200))
    elsewhere = replace(strong, epsilon=0.3)
    assert overfitting([replace(seen, attacked=(seen.attacked[0], weak, strong))], 0.1).verdict == "problem"
    assert overfitting([replace(seen, attacked=(seen.attacked[0], weak, elsewhere))], 0.1).verdict == "ok"


def test_looks_without_both_accuracies_are_refused() -> None:
    with pytest.raises(UsageError, match="expected accuracies under a single step and under several, got none"):
        overfitting([], 0.1)
    seen = look(0.9, 0.8, 0.1)
    with pytest.raises(UsageError, match="track an OverfittingWatch"):
        overfitting([replace(seen, attacked=seen.attacked[1:])], 0.1)


def test_another_watch_keeps_its_record() -> None:
    _, validation = digits()
    model, tracker = mlp(), Tracker(threats=(L2Ball(0.3),), samples=30)
    alone = tracker(model, validation, seed=0)
    both = OverfittingWatch(THREAT, also=tracker, samples=40)(model, validation, seed=0)
    assert both == replace(alone, attacked=(*alone.attacked, *both.attacked[1:]))
    assert [a.attack for a in both.attacked] == ["pgd-margin-10", "pgd-ce-1", "pgd-margin-10"]


def test_the_epoch_of_the_collapse_is_not_booked() -> None:
    """The run ends with the best weights before it: here those it came with, a net that is always wrong."""
    model = Masked()
    with torch.no_grad():
        model.scale.fill_(-0.5)
    plan = Plan(Dynamics(epochs=3, learning_rate=1.0), FastTraining(THREAT))
    epochs: list[int] = []
    with pytest.raises(UsageError, match="catastrophic overfitting"):
        train(
            model,
            bright(40),
            bright(200),
            plan,
            seed=0,
            track=OverfittingWatch(THREAT, several=Darker()),
            progress=lambda stage, done, total: epochs.append(done),
        )
    assert epochs == []  # it learnt to be right, and was misled, in the first
    assert float(model.scale.detach()) == -0.5
    assert not model.training


@pytest.mark.parametrize("chance", [-0.1, 1.1, float("nan")])
def test_a_chance_that_is_no_accuracy_is_refused(chance: float) -> None:
    with pytest.raises(UsageError, match=r"chance is an accuracy in \[0, 1\], got"):
        overfitting([look(0.9, 0.8, 0.1)], chance)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"samples": 0}, {"batch_size": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="needs every, samples and batch_size >= 1, got"):
        OverfittingWatch(THREAT, **wrong)  # type: ignore[arg-type]


def test_a_comparison_with_one_gradient_is_refused() -> None:
    with pytest.raises(UsageError, match="compares one step with several, got fgsm of 1 gradient"):
        OverfittingWatch(THREAT, several=FGSM())


def test_balls_and_steps_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UsageError, match="epsilon must be a positive number"):
        OverfittingWatch(LinfBall(-1.0))
    with pytest.raises(UsageError, match="step_size is a positive multiple"):
        OverfittingWatch(THREAT, step_size=-1.0)

"""What a recovery can be asked for, and the objective that each kind stands for."""

from __future__ import annotations

from typing import Any

import pytest

from brittle.errors import UsageError
from brittle.threats import L1Ball, LinfBall
from brittle.training.adversarial import TRADES, PGDTraining
from brittle.training.distillation import Distillation, Teacher
from brittle.training.held import Conditioned, Zeros
from brittle.training.judge import CleanJudge, RobustJudge
from brittle.training.objective import CrossEntropy
from brittle.training.plan import Weighted
from brittle.training.protocols import Judge, Objective
from brittle.training.recovery import RECOVERIES, Recovery, spending
from tests.training.recovery.nets import parent

BALL = LinfBall(0.05)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Recovery("plain", 1), CrossEntropy()),
        (Recovery("adversarial", 1, BALL, share=0.5), PGDTraining(BALL, 5, 0.5, 0.5)),
        (Recovery("adversarial", 1, BALL, steps=1), PGDTraining(BALL, 1, 1.25, 1.0)),
        (Recovery("trades", 1, BALL, beta=3.0, step_size=0.3), TRADES(BALL, 3.0, 5, 0.3)),
        (Recovery("distil", 1, temperature=4.0, labels=0.2), Distillation(Teacher(parent()), None, 5, 0.5, 1, 4, 0.2)),
        (Recovery("distil", 1, BALL, steps=10), Distillation(Teacher(parent()), BALL, 10, 0.25)),
    ],
)
def test_the_objective_of_each_kind(how: Recovery, expected: Objective) -> None:
    assert RECOVERIES[how.kind].objective(how, parent()) == expected


def test_the_plan_of_a_recovery() -> None:
    how = Recovery(
        "plain",
        3,
        batch_size=50,
        optimiser="momentum",
        weight_decay=0.01,
        schedule="cosine",
        patience=2,
        penalties={"alignment": 0.1, "condition": 0.2},
        layers=("fc*",),
        hold_zeros=True,
        tau=2.0,
        hold_scale=True,
    )
    plan = how.plan(CrossEntropy(), 0.05, spending(3, 1, 120, 50))
    dynamics = plan.dynamics
    assert (dynamics.epochs, dynamics.steps, dynamics.batch_size, dynamics.learning_rate) == (3, 9, 50, 0.05)
    assert (dynamics.optimiser, dynamics.weight_decay, dynamics.schedule, dynamics.patience) == (
        "momentum",
        0.01,
        "cosine",
        2,
    )
    assert plan.penalties == (Weighted("alignment", 0.1), Weighted("condition", 0.2))
    assert (plan.layers, plan.holds, plan.hold_scale) == (("fc*",), (Zeros(), Conditioned(2.0)), True)
    assert plan.judge == CleanJudge()


@pytest.mark.parametrize(
    ("how", "judge"),
    [
        (Recovery("distil", 1), CleanJudge()),
        (Recovery("distil", 1, BALL), RobustJudge(BALL)),
        (Recovery("adversarial", 1, BALL, judged=LinfBall(0.1)), RobustJudge(LinfBall(0.1))),
        (Recovery("plain", 1, judged=BALL), RobustJudge(BALL, clean=0.5)),
    ],
)
def test_who_judges(how: Recovery, judge: Judge) -> None:
    assert how.judge == judge


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "sgd"}, "unknown recovery 'sgd': expected one of plain, adversarial, trades, distil"),
        ({"kind": "adversarial"}, "recovery adversarial trains against a threat, got none: give a norm and a radius"),
        ({"kind": "trades"}, "recovery trades trains against a threat, got none"),
        ({"threat": BALL}, r"recovery plain knows no threat, got .*: take adversarial or distil, or give none"),
        ({"kind": "adversarial", "threat": L1Ball(1.0)}, "expects a ball in linf or l2, got 'l1'"),
        ({"budget": 0}, "a budget is a positive number of gradient evaluations"),
        ({"steps": 0}, "at least 1 step of attack, got 0"),
        ({"step_size": 0.0}, "step_size is a positive multiple of epsilon, got 0.0"),
        ({"share": 2.0}, r"the share of attacked samples lies in \(0, 1\], got 2.0"),
        ({"beta": -1.0}, "TRADES needs beta >= 0, got -1.0"),
        ({"temperature": -1.0}, "a temperature must be a positive number, got -1.0"),
        ({"labels": 2.0}, r"the weight of the labels lies in \[0, 1\], got 2.0"),
        ({"learning_rate": 0.0}, "learning rate must be > 0"),
        ({"batch_size": 0}, "batch size must be at least 1"),
        ({"optimiser": "lion"}, "unknown optimiser 'lion'"),
        ({"schedule": "wavy"}, "unknown schedule 'wavy'"),
        ({"patience": 0}, "patience must be at least 1 epoch"),
        ({"penalties": {"l9": 1.0}}, "unknown penalty 'l9'"),
        ({"penalties": {"l1": -1.0}}, "penalty l1: the strength must be >= 0, got -1.0"),
        ({"layers": ("fc1",)}, "layers say what penalties and the held scale act on: give one of them, or leave"),
        ({"judged": L1Ball(1.0)}, "expects a ball in linf or l2, got 'l1'"),
        ({"tau": 0.0}, "a condition number is bounded by a finite tau >= 1, got 0.0"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recovery(**{"kind": "plain", "budget": 1.0, **values})

"""A trial's run in the engine's terms."""

from __future__ import annotations

import pytest

from brittle.errors import UsageError
from brittle.studies.sources.plans import plan_of, threat_of_training
from brittle.studies.trial import Dense, DynamicsSource, InterventionSource, PenaltySource, Training, Trial
from brittle.threats import ball
from brittle.training.adversarial.pgd import PGDTraining
from brittle.training.adversarial.trades import TRADES
from brittle.training.judge import RobustJudge
from brittle.training.plan import HeavyTails, Weighted

TRIAL = Trial(training=Training(epochs=7, batch_size=16, learning_rate=0.01, weight_decay=0.5, optimiser="sgd"))
LASSO = PenaltySource(name="group_lasso", strength=0.25)


def test_the_run_is_the_trials() -> None:
    dynamics = plan_of(TRIAL, Dense(), hold_scale=False).dynamics
    assert (dynamics.epochs, dynamics.batch_size, dynamics.learning_rate) == (7, 16, 0.01)
    assert (dynamics.weight_decay, dynamics.optimiser, dynamics.schedule) == (0.5, "sgd", "cosine")
    assert plan_of(TRIAL, Dense(), hold_scale=True).hold_scale


def test_penalties_of_source_and_intervention() -> None:
    assert plan_of(TRIAL, LASSO, hold_scale=False).penalties == (Weighted("group_lasso", 0.25),)
    more = InterventionSource(name="beta_control", strength=2.0, of=LASSO)
    assert plan_of(TRIAL, more, hold_scale=False).penalties == (
        Weighted("group_lasso", 0.25),
        Weighted("beta_control", 2),
    )
    flat = InterventionSource(name="flatten", strength=0.5, of=LASSO)
    assert plan_of(TRIAL, flat, hold_scale=False).penalties == (Weighted("group_lasso", 0.25),)


@pytest.mark.parametrize(
    ("setting", "value", "field", "wanted"),
    [
        ("learning_rate", 0.5, "learning_rate", 0.5),
        ("batch_size", 8.0, "batch_size", 8),
        ("weight_decay", 0, "weight_decay", 0),
        ("label_noise", 0.25, "label_noise", 0.25),
        ("optimiser", "adamw", "optimiser", "adamw"),
        ("gradient_noise", 0.125, "gradient_noise", HeavyTails(1.8, 0.125)),
    ],
)
def test_one_setting_takes_another_value(setting: str, value: float | str, field: str, wanted: object) -> None:
    source = DynamicsSource.model_validate({"setting": setting, "value": value})
    dynamics = plan_of(TRIAL, source, hold_scale=False).dynamics
    assert getattr(dynamics, field) == wanted
    assert type(getattr(dynamics, field)) is type(wanted) or setting == "weight_decay"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("learning_rate", "fast", "learning_rate must be a number, got 'fast'"),
        ("optimiser", 3, "optimiser must be a name, got 3"),
        ("batch_size", 2.5, "batch_size must be a whole number, got 2.5"),
        ("label_noise", 2.0, "label noise is a share"),
    ],
)
def test_impossible_values_are_refused(setting: str, value: float | str, words: str) -> None:
    source = DynamicsSource.model_validate({"setting": setting, "value": value})
    with pytest.raises(UsageError, match=words):
        plan_of(TRIAL, source, hold_scale=False)


def test_an_unknown_penalty_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown penalty 'gravity'"):
        plan_of(TRIAL, PenaltySource(name="gravity", strength=1.0), hold_scale=False)


@pytest.mark.parametrize(("name", "kind"), [("pgd", PGDTraining), ("trades", TRADES)])
def test_adversarial_training_is_judged_under_attack(name: str, kind: type) -> None:
    training = Training.model_validate({"adversarial": name, "epsilon": 0.1, "norm": "l2"})
    plan = plan_of(Trial(training=training), Dense(), hold_scale=False)
    assert isinstance(plan.objective, kind)
    assert plan.objective.threat == ball("l2", 0.1)  # type: ignore[attr-defined]
    assert plan.judge == RobustJudge(ball("l2", 0.1))


def test_adversarial_training_needs_a_radius() -> None:
    with pytest.raises(UsageError, match=r"training\.adversarial is pgd with training\.epsilon 0"):
        threat_of_training(Trial(training=Training(adversarial="pgd")))
    assert threat_of_training(TRIAL) is None

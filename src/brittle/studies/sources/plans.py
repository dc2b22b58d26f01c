"""The training run of a trial, in the engine's terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from brittle.errors import UsageError
from brittle.studies.trial import DynamicsSource, InterventionSource, PenaltySource, Source, Trial
from brittle.threats import Ball, ball
from brittle.training.adversarial.pgd import PGDTraining
from brittle.training.adversarial.trades import TRADES
from brittle.training.judge import RobustJudge
from brittle.training.objective import CrossEntropy
from brittle.training.penalties import penalty_named
from brittle.training.plan import Dynamics, HeavyTails, Plan, Weighted
from brittle.training.protocols import Objective

# Adversarial training: every sample attacked, five steps of half the radius.
STEPS: Final = 5
STEP_SIZE: Final = 0.5
# Tail index of the gradient noise, whose scale is what a trial varies; 2 would be Gaussian.
TAIL: Final = 1.8
# Interventions that are penalties, added to those of their source.
PENALTY_INTERVENTIONS: Final = ("beta_control", "alignment")


def threat_of_training(trial: Trial) -> Ball | None:
    """The ball that the network is trained against; None for plain training.

    Raises:
        UsageError: adversarial training without a radius.
    """
    training = trial.training
    if training.adversarial == "none":
        return None
    if training.epsilon == 0:
        raise UsageError(
            f"training.adversarial is {training.adversarial} with training.epsilon 0: give the radius to train against"
        )
    return ball(training.norm, training.epsilon)


def plan_of(trial: Trial, source: Source, *, hold_scale: bool) -> Plan:
    """The run that `source` asks for: its penalties, or the one setting it changes.

    The epoch is chosen by clean validation accuracy; where training is adversarial, by accuracy under a short attack.

    Args:
        trial: the run that all trials share.
        source: what is changed in it.
        hold_scale: keep hidden layers at the Frobenius norms they start with.

    Raises:
        UsageError: an unknown penalty, optimiser or schedule, or a value that the setting cannot have.
    """
    plan = Plan(dynamics=_dynamics(trial), objective=objective_of(trial), hold_scale=hold_scale)
    threat = threat_of_training(trial)
    if threat is not None:
        plan = replace(plan, judge=RobustJudge(threat))
    match source:
        case DynamicsSource(setting="dropout"):
            return plan  # the architecture's
        case DynamicsSource(setting=setting, value=value):
            return replace(plan, dynamics=_with(plan.dynamics, setting, value))
        case _:
            return replace(plan, penalties=penalties_of(source))


def penalties_of(source: Source) -> tuple[Weighted, ...]:
    """The penalties of a source, and of the intervention on it.

    Raises:
        UsageError: an unknown penalty.
    """
    match source:
        case PenaltySource(name=name, strength=strength):
            penalty_named(name)
            return (Weighted(name, strength),)
        case InterventionSource(name=name, strength=strength, of=of):
            return penalties_of(of) + ((Weighted(name, strength),) if name in PENALTY_INTERVENTIONS else ())
        case _:
            return ()


def objective_of(trial: Trial) -> Objective:
    """What every step minimises, before penalties."""
    threat = threat_of_training(trial)
    if threat is None:
        return CrossEntropy()
    if trial.training.adversarial == "trades":
        return TRADES(threat, steps=STEPS, step_size=STEP_SIZE)
    return PGDTraining(threat, steps=STEPS, step_size=STEP_SIZE, share=1.0)


def _dynamics(trial: Trial) -> Dynamics:
    training = trial.training
    return Dynamics(
        epochs=training.epochs,
        batch_size=training.batch_size,
        optimiser=training.optimiser,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        schedule=training.schedule,
    )


def _with(dynamics: Dynamics, setting: str, value: float | str) -> Dynamics:
    if setting == "optimiser":
        return replace(dynamics, optimiser=_name(setting, value))
    number = _number(setting, value)
    match setting:
        case "gradient_noise":
            return replace(dynamics, gradient_noise=HeavyTails(TAIL, number))
        case "batch_size":
            if number != int(number):
                raise UsageError(f"source.value of the setting batch_size must be a whole number, got {value!r}")
            return replace(dynamics, batch_size=int(number))
        case _:
            changed: dict[str, Any] = {setting: number}
            return replace(dynamics, **changed)


def _name(setting: str, value: float | str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"source.value of the setting {setting} must be a name, got {value!r}")
    return value


def _number(setting: str, value: float | str) -> float:
    if isinstance(value, str):
        raise UsageError(f"source.value of the setting {setting} must be a number, got {value!r}")
    return value

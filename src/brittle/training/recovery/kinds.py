"""The kinds of recovery, and what a step of each minimises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from brittle.errors import UsageError
from brittle.threats import Ball
from brittle.training.adversarial.pgd import PGDTraining
from brittle.training.adversarial.trades import TRADES
from brittle.training.distillation import Distillation, Teacher
from brittle.training.objective import CrossEntropy
from brittle.training.protocols import Objective

if TYPE_CHECKING:
    from brittle.training.recovery.settings import Recovery


@dataclass(frozen=True)
class Kind:
    """One kind: whether it is trained against a threat, and its objective, made from the settings and the parent."""

    threat: Literal["none", "needed", "optional"]
    objective: Callable[[Recovery, nn.Module], Objective]


def _plain(how: Recovery, parent: nn.Module) -> Objective:
    return CrossEntropy()


def _adversarial(how: Recovery, parent: nn.Module) -> Objective:
    assert how.threat is not None
    return PGDTraining(how.threat, how.steps, how.stride, how.share)


def _trades(how: Recovery, parent: nn.Module) -> Objective:
    assert how.threat is not None
    return TRADES(how.threat, how.beta, how.steps, how.stride)


def _distil(how: Recovery, parent: nn.Module) -> Objective:
    return Distillation(
        Teacher(parent), how.threat, how.steps, how.stride, how.share, how.temperature, labels=how.labels
    )


RECOVERIES: dict[str, Kind] = {
    "plain": Kind("none", _plain),
    "adversarial": Kind("needed", _adversarial),
    "trades": Kind("needed", _trades),
    "distil": Kind("optional", _distil),
}


def check_kind(name: str, threat: Ball | None) -> Kind:
    """The kind called `name` in `RECOVERIES`.

    Raises:
        UsageError: no such kind, or a threat that it needs and has not, or has and does not know.
    """
    if name not in RECOVERIES:
        raise UsageError(f"unknown recovery {name!r}: expected one of {', '.join(RECOVERIES)}")
    kind = RECOVERIES[name]
    if kind.threat == "needed" and threat is None:
        raise UsageError(f"recovery {name} trains against a threat, got none: give a norm and a radius, or take plain")
    if kind.threat == "none" and threat is not None:
        raise UsageError(f"recovery {name} knows no threat, got {threat}: take adversarial or distil, or give none")
    return kind

"""The adversarial objectives by name."""

from __future__ import annotations

from collections.abc import Callable

from brittle.errors import UsageError
from brittle.training.adversarial.fast import FastTraining
from brittle.training.adversarial.pgd import PGDTraining
from brittle.training.adversarial.trades import TRADES
from brittle.training.adversarial.universal import UniversalTraining
from brittle.training.protocols import Objective

# Each factory takes a ball, then the objective's own fields by keyword: OBJECTIVES["trades"](threat, beta=3.0).
OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "pgd": PGDTraining,
    "trades": TRADES,
    "fast": FastTraining,
    "universal": UniversalTraining,
}


def objective_named(name: str) -> Callable[..., Objective]:
    """The factory called `name` in `OBJECTIVES`.

    Raises:
        UsageError: no such objective.
    """
    if name not in OBJECTIVES:
        raise UsageError(f"unknown adversarial objective {name!r}: expected one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]

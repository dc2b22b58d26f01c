"""What the settings of gradient attacks have in common."""

from __future__ import annotations

from brittle.attacks.losses import LOSSES
from brittle.errors import UsageError


def check_counts(steps: int, restarts: int) -> None:
    """Refuse numbers of steps or restarts below one.

    Raises:
        UsageError: with the number that came.
    """
    if steps < 1 or restarts < 1:
        raise UsageError(f"an attack needs steps >= 1 and restarts >= 1, got steps={steps}, restarts={restarts}")


def attack_name(kind: str, loss: str, steps: int, restarts: int) -> str:
    """The name reports show: "apgd-ce-100x2" for two restarts of 100 steps."""
    return f"{kind}-{loss}-{steps}" + (f"x{restarts}" if restarts > 1 else "")


def check_loss(name: str) -> None:
    """Refuse a name that is not in `LOSSES`.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in LOSSES:
        raise UsageError(f"unknown attack loss {name!r}: expected one of {', '.join(LOSSES)}")

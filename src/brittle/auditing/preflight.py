"""What is checked before any attack starts: findings for people, and a stop where numbers would mean nothing."""

from __future__ import annotations

from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.evaluation.masking import masking_checks
from brittle.evaluation.model_checks import model_checks
from brittle.results.audit import Check
from brittle.threats import Ball

_MODE = "evaluation mode"


def preflight(
    model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, in_train_mode: bool, batch_size: int, seed: int
) -> tuple[Check, ...]:
    """Findings about the frozen copy `model` on samples x (n, *shape), y (n,); a few hundred suffice.

    `in_train_mode` says how the user's own model came.

    Raises:
        ModelError: a finding that would make every number meaningless.
    """
    checks = model_checks(model, x, y, batch_size=batch_size)
    for check in checks:
        if check.verdict == "problem":
            raise ModelError(check.advice)
    if in_train_mode:
        advice = "the model came in train mode: it was measured in evaluation mode and is as it was"
        checks = (Check(_MODE, "warning", advice), *(check for check in checks if check.check != _MODE))
    return (*checks, *masking_checks(model, x, y, threat, batch_size=batch_size, seed=seed))

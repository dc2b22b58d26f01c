"""Preflight: findings in one list, a stop at problems."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.auditing.preflight import preflight
from brittle.errors import ModelError
from brittle.results.audit import Check
from brittle.threats import ball
from tests.auditing.made import linear_net, samples


def found(model: nn.Module, in_train_mode: bool = False) -> tuple[Check, ...]:
    x, y = samples(30)
    return preflight(model, x, y, ball("linf", 0.1), in_train_mode=in_train_mode, batch_size=10, seed=0)


def test_every_check_is_told_once_model_checks_first_then_signs_of_masking() -> None:
    names = [check.check for check in found(linear_net())]
    assert len(set(names)) == len(names)
    assert names[0] == "evaluation mode"
    assert names.index("deterministic") < names.index("gradients are not zero")


def test_train_mode_replaces_the_finding_that_all_is_well() -> None:
    assert [c.verdict for c in found(linear_net()) if c.check == "evaluation mode"] == ["ok"]
    assert [c.verdict for c in found(linear_net(), in_train_mode=True) if c.check == "evaluation mode"] == ["warning"]


def test_a_problem_is_an_error() -> None:
    class BatchDependent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear_net()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner(x)
            return logits - logits.mean(0, keepdim=True) + torch.arange(3)

    with pytest.raises(ModelError, match=r"logits change by .* with the others in its batch"):
        found(BatchDependent())

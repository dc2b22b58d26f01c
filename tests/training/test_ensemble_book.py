"""What is booked for members that tie, stop or are lost, with numbers made up for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.engine_run import Run
from brittle.training.ensemble.book import close_epoch
from brittle.training.ensemble.steps import Steps, check_numbers
from brittle.training.plan import Dynamics, Plan
from tests.training.toys import digits, mlp


def runs(patience: int | None = None) -> list[Run]:
    """Two members before their first step."""
    plan = Plan(Dynamics(5, 32, patience=patience))
    return Steps([mlp(), mlp()], *digits(64), [plan] * 2, (0, 1)).runs


def close(members: list[Run], scores: list[tuple[float, float]]) -> list[bool]:
    """An epoch of two steps with 32 and 16 samples, losses 1 and 4 for both."""
    for run in members:
        run.at.step += 2
    losses = torch.tensor([[1.0, 1.0], [4.0, 4.0]])
    return close_epoch(members, losses, [32, 16], torch.tensor(scores), [{"l1": 1.0}, {"l1": 2.0}], [None, None])


def test_a_tie_keeps_the_earlier_epoch_and_more_accuracy_beats_less_loss() -> None:
    members = runs()
    assert close(members, [(0.5, -1.0), (0.5, -1.0)]) == [True, True]
    assert close(members, [(0.5, -1.0), (0.5, -0.75)]) == [False, True]
    assert [run.at.best_epoch for run in members] == [1, 2]
    assert close(members, [(0.75, -2.0), (0.25, -0.5)]) == [True, False]
    assert [run.at.best_epoch for run in members] == [3, 2]
    assert [run.at.best for run in members] == [(0.75, -2.0), (0.5, -0.75)]


def test_a_row_has_the_mean_over_samples_and_the_members_own_numbers() -> None:
    members = runs()
    close(members, [(0.5, -1.0), (0.25, -3.0)])
    row = members[1].rows[0]
    assert (row.epoch, row.steps, row.gradients, row.loss) == (1, 2, 48.0, 2.0)
    assert (row.penalties, row.validation_accuracy, row.validation_loss) == ({"l1": 2.0}, 0.25, 3.0)


def test_a_member_that_has_stopped_is_left_alone() -> None:
    members = runs(patience=1)
    close(members, [(0.5, -1.0), (0.5, -1.0)])
    close(members, [(0.5, -1.5), (0.5, -0.5)])
    assert [run.at.stopped for run in members] == [True, False]
    assert close(members, [(1.0, 0.0), (1.0, 0.0)]) == [False, True]
    assert [len(run.rows) for run in members] == [2, 3]
    assert [run.at.best_epoch for run in members] == [1, 3]


@pytest.mark.parametrize(
    ("losses", "validation", "message"),
    [
        ([[1.0, 2.0], [1.0, 3.0]], [1.0, 1.0], None),
        ([[1.0, 2.0], [1.0, torch.nan]], [1.0, 1.0], r"member 1 \(seed 1\): the loss is nan at step 4 in epoch 1 of 5"),
        ([[1.0, -torch.inf], [1.0, 1.0]], [1.0, 1.0], r"member 1 \(seed 1\): the loss is inf at step 3 in"),
        ([[1.0, 2.0], [1.0, 3.0]], [1.0, torch.inf], r"member 1 \(seed 1\): the validation loss is inf at step 4 in"),
        ([[torch.nan, 2.0], [1.0, 3.0]], [torch.nan, 1.0], None),
    ],
)
def test_a_lost_member_is_named_unless_it_has_stopped(
    losses: list[list[float]], validation: list[float], message: str | None
) -> None:
    members = runs()
    members[0].at.stopped = True
    for run in members:
        run.at.step = 4
    numbers: tuple[Tensor, Tensor] = torch.tensor(losses), torch.tensor(validation)
    if message is None:
        check_numbers(members, *numbers)
        return
    with pytest.raises(UsageError, match=f"^{message}.*: lower its learning rate \\(0.001\\) or leave it out$"):
        check_numbers(members, *numbers)

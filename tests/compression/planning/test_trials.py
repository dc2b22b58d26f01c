"""Trials: each plan assembled and measured once, the best of them by the loss asked for."""

from __future__ import annotations

import pytest
import torch

from brittle.compression.cost import PlannedParameters, parameters
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.explained import explained
from brittle.compression.planning.measure import bench
from brittle.compression.planning.mends import Refitted, plain
from brittle.compression.planning.sensitivity import Cache
from brittle.compression.planning.trials import Assembly, Trials
from brittle.threats import LinfBall
from tests.compression.planned_nets import cnn, cnn_couplings, evidence

EVIDENCE = evidence(80, threat=LinfBall(0.05))
SCORES = explained(cnn(), cnn_couplings(), EVIDENCE)
BOARD = bench(cnn(), EVIDENCE, batch_size=80, steps=1)
NARROW, WIDE = CompressionPlan(units={"conv2": 3, "fc1": 8}), CompressionPlan(units={"conv2": 12}, ranks={"fc1": 9})


def trials(told: list[tuple[str, int, int]] | None = None) -> Trials:
    progress = None if told is None else lambda *args: told.append(args)
    return Trials(cnn(), cnn_couplings(), EVIDENCE, BOARD, 0.5, Cache(), 2, progress)


def test_a_plan_is_assembled_with_its_exact_size_and_measured() -> None:
    some = trials()
    trial = some.run(Assembly("a", WIDE, Refitted(), SCORES))
    child = some.build(trial.assembly)
    assert parameters(child) == PlannedParameters(cnn(), cnn_couplings())(WIDE)
    assert BOARD.measure(child) == trial.standing
    assert trial.loss == pytest.approx((trial.standing.clean_loss + trial.standing.robust_loss) / 2)


def test_the_best_is_of_least_loss_and_nothing_is_measured_twice() -> None:
    told: list[tuple[str, int, int]] = []
    some = trials(told)
    wide, narrow = some.run(Assembly("a", WIDE, Refitted(), SCORES)), some.run(Assembly("a", NARROW, plain, SCORES))
    assert some.run(Assembly("a", WIDE, Refitted(), SCORES)) is wide
    assert some.best() is wide
    assert wide.loss < narrow.loss
    other = some.run(Assembly("b", WIDE, plain, SCORES))
    assert other is not wide, "another way to mend the same plan"
    assert other.loss > wide.loss
    assert told == [("plans", 1, 2), ("plans", 2, 2), ("plans", 2, 2)]


def test_the_cache_answers_for_another_run() -> None:
    some = trials()
    first = some.run(Assembly("a", WIDE, Refitted(), SCORES))
    again = trials()
    again.cache = some.cache
    with torch.no_grad():
        for parameter in again.model.parameters():
            parameter.zero_()  # what is measured anew would now be bad
    assert again.run(Assembly("a", WIDE, Refitted(), SCORES)).standing == first.standing

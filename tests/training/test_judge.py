"""Judges against what evaluation measures, on a net whose margins are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.threats import LinfBall
from brittle.training.judge import CleanJudge, RobustJudge
from tests.training.adversarial.toys import TwoClasses
from tests.training.toys import digits, mlp


def line() -> tuple[TwoClasses, Split]:
    """Margin x - 0.5 on pixels 0, 0.01, ..., 1, labels 1 from 0.5 on, the last ten of them wrong."""
    x = torch.arange(101, dtype=torch.float64)[:, None] / 100
    y = (x[:, 0] > 0.499).long()
    y[-10:] = 0
    return TwoClasses([1.0], -0.4951).eval(), Split(x, y)


def test_the_robust_judge_counts_what_a_ball_cannot_reach() -> None:
    model, split = line()
    judged = RobustJudge(LinfBall(0.1)).__call__(model, split, seed=0)
    # Of the 91 rightly labelled pixels those within 0.1 of the boundary at 0.4951 break: 0.40 ... 0.59.
    assert judged.rank == (71 / 101, 91 / 101)
    assert judged.lost == pytest.approx(30 / 101)
    assert judged.seen is not None
    (seen,) = judged.seen.attacked
    assert (judged.seen.n, judged.seen.clean, seen.accuracy) == (101, 91 / 101, 71 / 101)
    assert (seen.norm, seen.epsilon, seen.attack) == ("linf", 0.1, "pgd-margin-10")
    assert seen.interval95[0] < 71 / 101 < seen.interval95[1]


def test_clean_accuracy_can_have_a_weight() -> None:
    model, split = line()
    judged = RobustJudge(LinfBall(0.1), clean=0.25)(model, split, seed=0)
    assert judged.rank == (pytest.approx((0.75 * 71 + 0.25 * 91) / 101), 91 / 101)
    assert judged.lost == pytest.approx(1 - judged.rank[0])
    with pytest.raises(UsageError, match=r"the weight of clean accuracy lies in \[0, 1\], got 1.5: 0 leaves it out"):
        RobustJudge(LinfBall(0.1), clean=1.5)


def test_it_looks_at_so_many_samples_and_the_same_ones_again() -> None:
    model, split = line()
    judge = RobustJudge(LinfBall(0.1), samples=40)
    first, again, other = (judge(model, split, seed=seed) for seed in (3, 3, 4))
    assert first.seen is not None
    assert first.seen.n == 40
    assert first == again
    assert first.rank != other.rank
    with pytest.raises(UsageError, match="a judge needs at least 1 validation sample, got 0"):
        RobustJudge(LinfBall(0.1), samples=0)


def test_the_clean_judge_is_the_engines_rule() -> None:
    model, split = mlp().eval(), digits()[1]
    judged = CleanJudge()(model, split, seed=0)
    with torch.no_grad():
        logits = model(split.x)
    loss = float(F.cross_entropy(logits, split.y))
    assert judged.rank[0] == float((logits.argmax(1) == split.y).double().mean())
    assert (judged.rank[1], judged.lost) == (pytest.approx(-loss), pytest.approx(loss))
    assert judged.seen is None

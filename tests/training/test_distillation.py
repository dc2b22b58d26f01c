"""Distillation against formulas written out, its attack against the known worst point, its cost against a count."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.threats import L1Ball, LinfBall
from brittle.training.distillation import Distillation, Teacher
from tests.training.adversarial.toys import (
    Counted,
    Spying,
    TwoClasses,
    folded,
    generator,
    images,
    inside,
    rows,
    small_cnn,
)


def naive(student: Tensor, teacher: Tensor, y: Tensor, temperature: float, labels: float) -> Tensor:
    """Sample by sample, class by class."""
    found = []
    for s, t, label in zip(student, teacher, y, strict=True):
        p = (t / temperature).exp() / (t / temperature).exp().sum()
        q = (s / temperature).exp() / (s / temperature).exp().sum()
        kl = sum(p[j] * (p[j] / q[j]).log() for j in range(len(p)))
        hard = -(s.exp() / s.exp().sum())[label].log()
        found.append((1 - labels) * temperature**2 * kl + labels * hard)
    return torch.stack(found)


@pytest.mark.parametrize(("temperature", "labels"), [(1.0, 0.0), (4.0, 0.0), (2.0, 0.3), (1.0, 1.0)])
def test_the_loss_is_the_formula(temperature: float, labels: float) -> None:
    student, teacher, (x, y) = folded(1, 0), folded(1, 1), rows(9)
    loss = Distillation(Teacher(teacher), temperature=temperature, labels=labels).start()
    got = loss(student, x, y, generator())
    torch.testing.assert_close(got, naive(student(x), teacher(x).detach(), y, temperature, labels))
    (slope,) = torch.autograd.grad(got.sum(), student.first)
    assert float(slope.norm()) > 0
    assert teacher.first.grad is None


def test_on_attacked_samples_the_teacher_sees_the_clean_ones() -> None:
    student, teacher, (x, y) = Spying(folded(1, 0)), Spying(folded(1, 1)), rows(9)
    threat = LinfBall(0.1)
    loss = Distillation(Teacher(teacher), threat, steps=3, temperature=2.0).start()
    got = loss(student, x, y, generator())
    x_adv = student.met[-1][0]
    assert inside(x, x_adv, threat)
    assert float((x_adv - x).abs().amax()) > 0.09
    torch.testing.assert_close(got, naive(student.inner(x_adv), teacher.inner(x).detach(), y, 2.0, 0.0))
    assert len(teacher.met) == 1
    torch.testing.assert_close(teacher.met[0][0], x)


def test_the_attack_moves_the_prediction_away_from_the_teachers() -> None:
    """Two classes and one margin w . x: the divergence from a confident teacher is worst at a corner that is known."""
    student = TwoClasses([2.0, -1.0], 0.0)
    teacher = TwoClasses([0.0, 0.0], 5.0)  # says the second class everywhere
    spy, x = Spying(student), torch.full((4, 2), 0.5, dtype=torch.float64)
    loss = Distillation(Teacher(teacher), LinfBall(0.2), steps=10).start()
    loss(spy, x, torch.zeros(4, dtype=torch.int64), generator())
    torch.testing.assert_close(spy.met[-1][0], x + torch.tensor([-0.2, 0.2], dtype=torch.float64))


def test_a_share_of_the_batch_is_attacked() -> None:
    spy, (x, y) = Spying(folded(1, 0)), rows(8)
    Distillation(Teacher(folded(1, 1)), LinfBall(0.1), share=0.5).start()(spy, x, y, generator())
    moved = (spy.met[-1][0] != x).any(1)
    assert int(moved.sum()) == 4


@pytest.mark.parametrize(("threat", "share"), [(None, 1.0), (LinfBall(0.1), 1.0), (LinfBall(0.1), 0.5)])
def test_the_cost_is_what_a_step_takes(threat: Any, share: float) -> None:
    model, (x, y) = Counted(small_cnn()), images(12)
    objective = Distillation(Teacher(small_cnn()), threat, steps=3, share=share)
    objective.start()(model, x, y, generator())
    assert model.samples == objective.cost * 12


def test_teacher_and_net_come_back_as_they_were() -> None:
    teacher, student, (x, y) = small_cnn(), small_cnn(), images(6)
    before = copy.deepcopy(teacher.state_dict())
    Distillation(Teacher(teacher), LinfBall(0.1), steps=2).start()(student, x, y, generator())
    assert teacher.training
    assert student.training
    assert all(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert int(student.state_dict()[next(n for n in before if n.endswith("batches_tracked"))]) == 1


def test_a_teacher_in_another_format_is_asked_as_a_copy() -> None:
    teacher, (x, y) = folded(1, 1).float(), rows(5)
    objective = Distillation(Teacher(teacher))
    got = objective.start()(folded(1, 0), x, y, generator())
    torch.testing.assert_close(got, naive(folded(1, 0)(x), teacher.double()(x).detach(), y, 1.0, 0.0))


def test_teachers_are_told_apart_by_their_weights() -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    assert repr(Teacher(one)) == repr(Teacher(copy.deepcopy(one)))
    assert Teacher(one) == Teacher(copy.deepcopy(one))
    assert hash(Teacher(one)) == hash(Teacher(copy.deepcopy(one)))
    assert repr(Teacher(one)) != repr(Teacher(other))
    assert Teacher(one) != Teacher(other)
    assert " at 0x" not in repr(Distillation(Teacher(one)))


def test_names() -> None:
    teacher = Teacher(nn.Linear(2, 2))
    assert Distillation(teacher, temperature=4.0, labels=0.5).name == "distil-T4-labels0.5"
    assert Distillation(teacher, LinfBall(0.05), steps=5, step_size=0.5).name == "distil-T1-linf-0.05-5x0.5"
    assert Distillation(teacher, LinfBall(0.05), share=0.5).name == "distil-T1-linf-0.05-10x0.25-share0.5"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "a temperature must be a positive number, got 0.0: 1 is usual"),
        ({"temperature": float("inf")}, "a temperature must be a positive number, got inf"),
        ({"labels": -0.1}, r"the weight of the labels lies in \[0, 1\], got -0.1: 0 leaves them out"),
        ({"share": 0.0}, r"share of attacked samples lies in \(0, 1\], got 0.0"),
        ({"steps": 0}, "at least 1 step of attack, got 0"),
        ({"step_size": -1.0}, "step_size is a positive multiple of epsilon, got -1.0"),
        ({"threat": L1Ball(1.0)}, "expects a ball in linf or l2, got 'l1'"),
    ],
)
def test_numbers_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Distillation(Teacher(nn.Linear(2, 2)), **values)

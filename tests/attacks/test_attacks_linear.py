"""Attacks against what is known exactly: linear classifiers.

With m_j = z_y - z_j and w_j = row_y - row_j, a perturbation of length epsilon lowers m_j by at most
epsilon * ||w_j||_* (dual norm), and by exactly that where the pixel box does not bind. Where it does, linear
programming says by how much.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.fgsm import FGSM
from brittle.attacks.losses import cross_entropy
from brittle.attacks.pgd import PGD
from brittle.attacks.targeted import TargetedAPGD
from brittle.threats import ball

N, DIM = 120, 12
RADII = [("linf", 0.02), ("l2", 0.06), ("l1", 0.12)]
DUAL_ORDER = {"linf": 1.0, "l2": 2.0, "l1": float("inf")}

# Every attack here must find the closed form's optimum: one line for each.
ATTACKS = [
    FGSM(),
    PGD(),
    PGD(step_size=0.5, loss="ce", restarts=2),
    APGD(),
    APGD(loss="dlr", restarts=2),
    TargetedAPGD(steps=50),
]


def problem(classes, dtype=torch.float64, low=0.3, high=0.7):
    """A random linear classifier, points away from the box's faces, and their labels by the classifier itself."""
    generator = torch.Generator().manual_seed(classes)
    model = nn.Linear(DIM, classes).to(dtype)
    weight = torch.randn(classes, DIM, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(weight)
        model.bias.copy_(-weight @ torch.full((DIM,), 0.5, dtype=torch.float64))
    x = low + (high - low) * torch.rand(N, DIM, generator=generator, dtype=torch.float64)
    x = x.to(dtype)
    return model, x, model(x).argmax(1)


def slack(model, x, y, norm, epsilon):
    """`min_j m_j - epsilon ||w_j||_*` (n,): negative where a perturbation breaks the sample."""
    weight, logits = model.weight.detach().double(), model(x).detach().double()
    rows = weight[y][:, None] - weight[None]
    dual = torch.linalg.vector_norm(rows, ord=DUAL_ORDER[norm], dim=2)
    gaps = logits.gather(1, y[:, None]) - logits - epsilon * dual
    return gaps.scatter(1, y[:, None], torch.inf).amin(1)


def lead(logits, y):
    """`z_y - z_j` of two classes, (n,)."""
    return (logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None]))[:, 0].detach()


def broken_by(attack, model, x, y, threat):
    x_adv = attack(model, x, y, threat, indices=torch.arange(len(x)), seed=0)
    assert float(threat.length(x_adv.double() - x.double()).max()) <= threat.epsilon
    return model(x_adv).argmax(1) != y


@pytest.mark.parametrize(("norm", "epsilon"), RADII)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_two_classes_are_broken_exactly_where_the_closed_form_says(attack, norm, epsilon, dtype):
    model, x, y = problem(2, dtype)
    gap = slack(model, x, y, norm, epsilon)
    clear = gap.abs() > 1e-4
    assert 0.2 < float((gap < 0).double().mean()) < 0.8
    assert clear.sum() > 0.99 * N
    assert torch.equal(broken_by(attack, model, x, y, ball(norm, epsilon))[clear], (gap < 0)[clear])


@pytest.mark.parametrize(("norm", "epsilon"), RADII)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_samples_that_stand_are_pushed_to_the_smallest_margin_there_is(attack, norm, epsilon):
    model, x, y = problem(2)
    gap = slack(model, x, y, norm, epsilon)
    left = lead(model(attack(model, x, y, ball(norm, epsilon), indices=torch.arange(N), seed=0)), y)
    stands = gap > 0
    assert (left >= gap - 1e-12).all()
    assert torch.allclose(left[stands], gap[stands], rtol=0, atol=2e-4)


def largest_rise(weight, x, epsilon):
    """`max weight . delta` over the l_1 ball and the pixel box around x (d,), by linear programming, delta = p - q."""
    d = len(x)
    found = linprog(
        -np.concatenate([weight, -weight]),
        A_ub=np.ones((1, 2 * d)),
        b_ub=[epsilon],
        bounds=[(0, 1 - v) for v in x] + [(0, v) for v in x],
    )
    return -found.fun


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_l1_attacks_reach_the_optimum_of_linear_programming_where_the_box_binds(attack):
    model, x, _ = problem(2, low=-0.4, high=1.4)
    x = x.clamp(0.0, 1.0)  # about half of the pixels stand at a face
    y, epsilon = model(x).argmax(1), 0.6
    weight = (model.weight[1 - y] - model.weight[y]).detach()
    rise = torch.tensor([largest_rise(w.numpy(), v.numpy(), epsilon) for w, v in zip(weight, x, strict=True)])
    assert (rise < 0.999 * epsilon * weight.abs().amax(1)).sum() > N / 4  # one pixel is not enough: the box binds
    gap = lead(model(x), y) - rise
    left = lead(model(attack(model, x, y, ball("l1", epsilon), indices=torch.arange(N), seed=0)), y)
    stands = gap > 0
    assert 20 < stands.sum() < N - 20
    assert torch.equal(left > 0, stands)
    assert torch.allclose(left[stands], gap[stands], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("norm", "epsilon"), RADII)
def test_targets_reach_every_breakable_sample_of_many_classes(norm, epsilon):
    model, x, y = problem(6)
    gap = slack(model, x, y, norm, epsilon)
    clear = gap.abs() > 1e-4
    broken = broken_by(TargetedAPGD(steps=50, targets=9), model, x, y, ball(norm, epsilon))
    assert torch.equal(broken[clear], (gap < 0)[clear])


@pytest.mark.parametrize(("norm", "epsilon"), RADII)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_attack_breaks_what_cannot_be_broken(attack, norm, epsilon):
    model, x, y = problem(6)
    gap = slack(model, x, y, norm, epsilon)
    broken = broken_by(attack, model, x, y, ball(norm, epsilon))
    assert not broken[gap > 0].any()
    assert broken.sum() > 0.7 * (gap < 0).sum()


def test_one_target_is_less_than_all_of_them():
    model, x, y = problem(6)
    one, all_ = (broken_by(TargetedAPGD(20, t), model, x, y, ball("linf", 0.02)).sum() for t in (1, 5))
    assert one < all_


@pytest.mark.parametrize(("norm", "epsilon"), RADII)
def test_worst_case_reaches_the_largest_cross_entropy_of_two_classes(norm, epsilon):
    model, x, _ = problem(2)
    y = torch.arange(N) % 2  # misclassified samples too: it must not stop at the first error
    x_adv = WorstCase(APGD(60))(model, x, y, ball(norm, epsilon), indices=torch.arange(N), seed=0)
    truth = torch.nn.functional.softplus(-slack(model, x, y, norm, epsilon))
    assert torch.allclose(cross_entropy(model(x_adv), y), truth, rtol=1e-4)


@pytest.mark.parametrize("attack", [PGD(loss="ce"), WorstCase(APGD(60))], ids=lambda attack: attack.name)
def test_the_box_is_used_to_its_edge(attack):
    model, x, y = problem(2, low=0.0, high=1.0)
    epsilon, weight = 0.1, model.weight.detach()
    towards = (weight[1 - y] - weight[y]).sign()
    corner = (x + epsilon * towards).clamp(0, 1)  # the maximiser of a linear function on a box
    truth = cross_entropy(model(corner), y)
    x_adv = attack(model, x, y, ball("linf", epsilon), indices=torch.arange(N), seed=0)
    reached = cross_entropy(model(x_adv), y)
    stands = model(corner).argmax(1) == y
    assert 5 < stands.sum() < N
    assert (reached <= truth + 1e-12).all()
    assert torch.allclose(reached[stands], truth[stands], rtol=1e-4)


@pytest.mark.parametrize("attack", [PGD(), APGD(loss="dlr"), TargetedAPGD(30)], ids=lambda a: a.name)
def test_saturated_logits_do_not_stop_losses_other_than_the_cross_entropy(attack):
    model, x, y = problem(4, torch.float32)
    model.requires_grad_(False)
    threat = ball("linf", 0.02)
    before = broken_by(attack, model, x, y, threat).sum()
    model.weight.mul_(1e4)
    model.bias.mul_(1e4)
    after = broken_by(attack, model, x, y, threat).sum()
    assert after >= 0.97 * before

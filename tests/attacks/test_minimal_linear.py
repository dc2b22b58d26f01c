"""The shortest way to a hyperplane inside the box, and minimal attacks on linear classifiers, where that is all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import nn

from brittle.attacks.deepfool import DeepFool
from brittle.attacks.fab import FAB
from brittle.attacks.minimal_level import level
from brittle.attacks.minimal_norms import NORMS, step_to_plane

ORDER = {"linf": torch.inf, "l2": 2, "l1": 1}
DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}
each_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
each_attack = pytest.mark.parametrize("attack", [DeepFool(20), FAB(12)], ids=lambda attack: attack.name)


def shortest(norm, point, weight, rise):
    """Norm of the shortest d with `weight . d = rise` and `0 <= point + d <= 1`, by a general solver."""
    d = len(point)
    box = list(zip(-point, 1 - point, strict=True))
    if norm == "l2":
        start = linprog(np.zeros(d), A_eq=weight[None], b_eq=[rise], bounds=box).x
        plane = {"type": "eq", "fun": lambda v: weight @ v - rise, "jac": lambda v: weight}
        found = minimize(
            lambda v: v @ v,
            start,
            jac=lambda v: 2 * v,
            bounds=box,
            constraints=[plane],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        return found.fun**0.5
    # |d_i| <= t_i, with one t for all in l_inf; the sum of the t is least.
    extra = 1 if norm == "linf" else d
    caps = np.ones((d, 1)) if norm == "linf" else np.eye(d)
    above = np.block([[np.eye(d), -caps], [-np.eye(d), -caps]])
    return linprog(
        np.r_[np.zeros(d), np.ones(extra)],
        A_ub=above,
        b_ub=np.zeros(2 * d),
        A_eq=np.r_[weight, np.zeros(extra)][None],
        b_eq=[rise],
        bounds=box + [(0, None)] * extra,
    ).fun


@each_norm
def test_the_way_to_a_plane_is_the_shortest_in_the_box(norm):
    random = np.random.default_rng(0)
    for number in range(40):
        d = int(random.integers(1, 9))
        point, weight = random.random(d), random.standard_normal(d)
        point[random.random(d) < 0.2] = random.integers(0, 2)  # on faces of the box
        weight[1:][random.random(d - 1) < 0.2] = 0.0
        towards = np.where(weight > 0, 1 - point, point)
        most = np.abs(weight) @ towards * (1 if number % 2 else -1)
        if most < 0:  # the other way leads to the opposite corner
            most = -(np.abs(weight) @ (1 - towards))
        rise = float(most * random.uniform(0.05, 0.98))
        step = step_to_plane(
            NORMS[norm],
            torch.tensor(point)[None],
            torch.tensor(weight)[None],
            torch.tensor([-rise], dtype=torch.float64),
        )[0].numpy()
        assert weight @ step == pytest.approx(rise, rel=1e-9, abs=1e-12)
        assert (point + step >= -1e-12).all()
        assert (point + step <= 1 + 1e-12).all()
        assert np.linalg.norm(step, ORDER[norm]) == pytest.approx(
            shortest(norm, point, weight, rise), rel=2e-6, abs=1e-7
        )


@each_norm
def test_a_plane_out_of_reach_is_approached_to_the_corner(norm):
    point = torch.tensor([[0.25, 0.5, 1.0, 0.3]], dtype=torch.float64)
    normal = torch.tensor([[2.0, -1.0, 3.0, 0.0]], dtype=torch.float64)
    step = step_to_plane(NORMS[norm], point, normal, torch.tensor([-100.0], dtype=torch.float64))
    assert torch.allclose(step, torch.tensor([[0.75, -0.5, 0.0, 0.0]], dtype=torch.float64))
    nothing = step_to_plane(NORMS[norm], point, torch.zeros_like(normal), torch.tensor([-1.0], dtype=torch.float64))
    assert torch.equal(nothing, torch.zeros_like(point))


@each_norm
def test_steps_to_a_plane_keep_their_scale_where_gradients_are_tiny(norm):
    random = torch.Generator().manual_seed(0)
    points = torch.rand(5, 9, generator=random, dtype=torch.float64)
    normal = torch.randn(5, 9, generator=random, dtype=torch.float64)
    gap = torch.full((5,), -0.3, dtype=torch.float64)
    usual = step_to_plane(NORMS[norm], points, normal, gap)
    assert torch.allclose(step_to_plane(NORMS[norm], points, 1e-30 * normal, 1e-30 * gap), usual, rtol=1e-9)


def test_level_is_where_the_filled_sum_reaches_the_rise():
    slopes, caps = torch.tensor([[1.0, 2.0, 4.0]] * 3), torch.tensor([[3.0, 1.0, 2.0]] * 3)
    # 7 t up to 1, then 7 + 5 (t - 1) up to 2, then 12 + (t - 2) up to 3: 13 is the most.
    found = level(slopes, caps, torch.tensor([3.5, 9.5, 12.5]))
    assert found.tolist() == pytest.approx([0.5, 1.5, 2.5])
    assert level(slopes[:1], caps[:1], torch.tensor([13.5])).tolist() == [torch.inf]


def linear(classes, n=60, d=12):
    """A random linear classifier in float64, points around the box's middle, and its own labels."""
    random = torch.Generator().manual_seed(classes)
    model = nn.Linear(d, classes).double()
    weight = torch.randn(classes, d, generator=random, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(weight)
        model.bias.copy_(-weight @ torch.full((d,), 0.5, dtype=torch.float64))
    x = 0.3 + 0.4 * torch.rand(n, d, generator=random, dtype=torch.float64)
    return model, x, model(x).argmax(1)


def gaps(model, x, y):
    """Margins to every class and the differences of weight rows, (n, c) and (n, c, d)."""
    logits, weight = model(x).detach(), model.weight.detach()
    return logits.gather(1, y[:, None]) - logits, weight[y][:, None] - weight[None]


@each_norm
@pytest.mark.parametrize("classes", [2, 5])
@each_attack
def test_linear_classifiers_have_the_radius_of_the_closed_form(attack, norm, classes):
    model, x, y = linear(classes)
    margins, rows = gaps(model, x, y)
    radius = margins / torch.linalg.vector_norm(rows, ord=DUAL[norm], dim=2)
    exact = radius.scatter(1, y[:, None], torch.inf).amin(1)
    # Off the box's faces: for l_1 all of the way is one pixel's, for l_2 no pixel's share is larger than all of it.
    free = exact < 0.29
    assert free.sum() > 25
    x_adv, found = attack(model, x, y, norm, indices=torch.arange(len(x)), seed=0)
    assert (model(x_adv).argmax(1) != y).all()
    assert ((found - exact) / exact)[free].abs().max() < 1e-4
    assert ((found - exact) / exact)[free].min() > -1e-12


@each_norm
@each_attack
def test_where_the_box_binds_the_radius_is_the_linear_program_s(attack, norm):
    model, x, _ = linear(2, n=25, d=6)
    with torch.no_grad():
        model.bias[0] += 1.2  # far away for everybody, out of reach for some
    x = (2 * (x - 0.5) + 0.5).clamp(0, 1)
    y = model(x).argmax(1)
    margins, rows = gaps(model, x, y)
    other = 1 - y
    w, rise = -rows[torch.arange(25), other], margins[torch.arange(25), other]
    reach = (w.abs() * torch.where(w > 0, 1 - x, x)).sum(1)
    _, found = attack(model, x, y, norm, indices=torch.arange(25), seed=0)
    within = rise < 0.98 * reach
    assert within.sum() >= 12
    assert torch.isinf(found[rise > reach * 1.001]).all()
    exact = [shortest(norm, x[i].numpy(), w[i].numpy(), float(rise[i])) for i in within.nonzero()[:, 0]]
    assert found[within].tolist() == pytest.approx(exact, rel=1e-4)

"""Ball and pixel box together: nearest points and full steps against quadratic and linear programming.

Legend: d coordinates.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import Tensor

from brittle.threats import EVERYWHERE, PIXELS, Box, ball


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def nearest(target: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """The nearest point to `target` (d,) in the l_1 ball around x and in the pixel box, as a quadratic program.

    delta = p - q with p, q >= 0 makes both constraints linear.
    """
    d = len(x)
    wanted = (target - x).numpy()
    up, down = np.minimum((1 - x).numpy(), 1e3), x.numpy()

    def distance(v: np.ndarray) -> float:
        return float(((v[:d] - v[d:] - wanted) ** 2).sum())

    def slope(v: np.ndarray) -> np.ndarray:
        g = 2 * (v[:d] - v[d:] - wanted)
        return np.concatenate([g, -g])

    short = {"type": "ineq", "fun": lambda v: epsilon - v.sum(), "jac": lambda v: -np.ones(2 * d)}
    found = minimize(
        distance,
        np.full(2 * d, epsilon / (4 * d)),
        jac=slope,
        bounds=[(0, u) for u in up] + [(0, u) for u in down],
        constraints=[short],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return x + torch.from_numpy(found.x[:d] - found.x[d:])


@settings(deadline=None, max_examples=40)
@given(
    d=st.integers(1, 6),
    seed=st.integers(0, 2**20),
    epsilon=st.floats(0.05, 3.0),
    scale=st.sampled_from([0.2, 1.0, 4.0]),
)
def test_l1_points_within_ball_and_box_are_the_nearest_that_quadratic_programming_finds(
    d: int, seed: int, epsilon: float, scale: float
) -> None:
    x = torch.rand(1, d, generator=torch.Generator().manual_seed(seed)).double()
    target = x + scale * normal(1, d, seed=seed)
    ours, theirs = ball("l1", epsilon).within(x, target, PIXELS)[0], nearest(target[0], x[0], epsilon)
    # Feasible, and no farther than the program's answer: the nearest point of a convex set is unique.
    assert float((ours - x[0]).abs().sum()) <= epsilon * (1 + 1e-12)
    assert 0 <= float(ours.min()) <= float(ours.max()) <= 1
    assert float((ours - target[0]).norm()) <= float((theirs - target[0]).norm()) + 1e-7
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_l1_projection_is_the_one_within_a_box_without_walls(seed: int) -> None:
    x, delta = normal(5, 9, seed=seed), normal(5, 9, seed=seed + 10)
    threat = ball("l1", 1.3)
    assert torch.allclose(threat.within(x, x + delta, EVERYWHERE), x + threat.project(delta), atol=1e-14)
    far = Box(-50.0, 50.0)
    assert torch.allclose(threat.within(x, x + delta, far), x + threat.project(delta), atol=1e-14)


def test_the_l1_projection_shrinks_magnitudes_equally() -> None:
    # By hand: |delta| - t with t = 0.5 leaves (1.5, 0.5, 0) of length 2; the second row is inside already.
    delta = torch.tensor([[2.0, -1.0, 0.25], [0.5, -0.5, 0.25]])
    assert torch.equal(ball("l1", 2.0).project(delta), torch.tensor([[1.5, -0.5, 0.0], [0.5, -0.5, 0.25]]))


def test_l1_points_fill_the_box_before_they_shrink() -> None:
    # By hand: the first pixel stops at 1 after 0.1; the others share what is left of the radius, 0.6 each way.
    x = torch.tensor([[0.9, 0.5, 0.5]]).double()
    towards = x + torch.tensor([[9.0, 0.45, -0.45]]).double()
    found = ball("l1", 0.7).within(x, towards, PIXELS) - x
    assert torch.allclose(found, torch.tensor([[0.1, 0.3, -0.3]]).double())


@settings(deadline=None, max_examples=40)
@given(d=st.integers(1, 8), seed=st.integers(0, 2**20), epsilon=st.floats(0.01, 9.0), low=st.sampled_from([0.0, -1.0]))
def test_full_l1_and_linf_steps_are_optima_of_linear_programming(d: int, seed: int, epsilon: float, low: float) -> None:
    box = Box(low, 1.0)
    x = (low + (1 - low) * torch.rand(1, d, generator=torch.Generator().manual_seed(seed))).double()
    gradient = normal(1, d, seed=seed)
    g, room = gradient[0].numpy(), [(0, float(1 - v)) for v in x[0]] + [(0, float(v - low)) for v in x[0]]
    program = linprog(-np.concatenate([g, -g]), A_ub=np.ones((1, 2 * d)), b_ub=[epsilon], bounds=room)
    delta = ball("l1", epsilon).full_step(x, gradient, box) - x
    assert float(delta.abs().sum()) <= epsilon * (1 + 1e-12)
    assert float((delta * gradient).sum()) == pytest.approx(-program.fun, abs=1e-9)
    delta = ball("linf", epsilon).full_step(x, gradient, box) - x
    program = linprog(-g, bounds=[(max(low - v, -epsilon), min(1 - v, epsilon)) for v in x[0].tolist()])
    assert float((delta * gradient).sum()) == pytest.approx(-program.fun, abs=1e-9)


def test_full_steps_without_walls_or_gradient() -> None:
    x, gradient = torch.zeros(2, 4).double(), torch.tensor([[0.1, -3.0, 2.0, 0.0], [0.0] * 4]).double()
    assert ball("l1", 2.5).full_step(x, gradient, EVERYWHERE).tolist() == [[0, -2.5, 0, 0], [0] * 4]
    step = ball("l2", 2.5).full_step(x, gradient, EVERYWHERE)
    assert torch.allclose(step[0], 2.5 * gradient[0] / gradient[0].norm())
    assert torch.equal(step[1], x[1])
    assert ball("l2", 2.5).full_step(x, gradient, PIXELS)[0].tolist() == [pytest.approx(0.25 / 13.01**0.5), 0, 1, 0]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_points_within_ball_and_box_stay_where_they_are(norm: str) -> None:
    x = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    threat = ball(norm, 0.3)
    inside = threat.within(x, x + normal(6, 3, 4), PIXELS)
    assert torch.allclose(threat.within(x, inside, PIXELS), inside, atol=1e-15)
    assert torch.equal(threat.within(x, x, PIXELS), x)

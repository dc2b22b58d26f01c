"""Norm geometry: lengths, dual norms, projections and steepest steps against brute force and scipy.

Legend: b batch, d coordinates.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from brittle.errors import UsageError
from brittle.threats import BALLS, EVERYWHERE, PIXELS, Ball, ball, in_box, inner

NORMS = ("linf", "l2", "l1")
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("norm", NORMS)
def test_the_table_names_each_ball_by_its_norm(norm: str) -> None:
    assert BALLS[norm](0.3).norm == norm == ball(norm, 0.3).norm
    assert ball(norm, 1) == ball(norm, 1.0)


@pytest.mark.parametrize("norm", NORMS)
def test_length_and_dual_length_are_numpys_norms_over_all_axes(norm: str) -> None:
    delta = normal(5, 3, 4, 2)
    flat = delta.numpy().reshape(5, -1)
    threat = ball(norm, 1.0)
    np.testing.assert_allclose(threat.length(delta), np.linalg.norm(flat, ORDER[norm], axis=1), rtol=1e-14)
    np.testing.assert_allclose(threat.dual_length(delta), np.linalg.norm(flat, DUAL[norm], axis=1), rtol=1e-14)


@pytest.mark.parametrize("norm", NORMS)
def test_the_diagonal_is_the_length_of_ones(norm: str) -> None:
    assert ball(norm, 1.0).diagonal(7) == pytest.approx(np.linalg.norm(np.ones(7), ORDER[norm]), rel=1e-14)


@pytest.mark.parametrize("norm", NORMS)
def test_no_perturbation_of_the_ball_beats_the_dual_norm_and_the_steepest_step_reaches_it(norm: str) -> None:
    gradient, threat = normal(6, 7), ball(norm, 0.3)
    step = threat.steepest(gradient)
    assert torch.allclose(threat.length(step), torch.ones(6, dtype=torch.float64))
    reached = (step * gradient).sum(1)
    assert torch.allclose(reached, threat.dual_length(gradient))
    for seed in range(300):
        noise = normal(6, 7, seed=seed + 1)
        unit = noise / torch.linalg.vector_norm(noise, ORDER[norm], dim=1, keepdim=True)
        assert bool(((unit * gradient).sum(1) <= reached + 1e-12).all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_steepest_step_and_the_length_survive_extreme_float32_gradients(norm: str, scale: float) -> None:
    gradient = normal(4, 9, dtype=torch.float32) * scale
    threat = ball(norm, 1.0)
    exact = np.linalg.norm(gradient.double().numpy(), ORDER[norm], axis=1)
    np.testing.assert_allclose(threat.length(gradient).double(), exact, rtol=1e-6)
    np.testing.assert_allclose(threat.length(threat.steepest(gradient)).double(), 1.0, rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_gives_a_zero_step_and_spares_its_neighbours(norm: str) -> None:
    gradient = normal(3, 5)
    gradient[1] = 0
    step = ball(norm, 1.0).steepest(gradient)
    assert bool((step[1] == 0).all())
    assert bool((step[[0, 2]] != 0).any(1).all())


def test_the_linf_projection_is_the_nearest_point_coordinate_by_coordinate() -> None:
    delta = normal(4, 6)
    np.testing.assert_array_equal(ball("linf", 0.5).project(delta), np.clip(delta.numpy(), -0.5, 0.5))


@pytest.mark.parametrize("seed", range(4))
def test_the_l2_projection_is_the_nearest_point_that_scipy_finds(seed: int) -> None:
    delta = normal(1, 4, seed=seed) * (0.1 if seed == 3 else 2.0)  # the last one is inside already
    bounded = {"type": "ineq", "fun": lambda v: 0.25 - v @ v, "jac": lambda v: -2 * v}
    target = delta[0].numpy()
    found = minimize(
        lambda v: ((v - target) ** 2).sum(), np.zeros(4), jac=lambda v: 2 * (v - target), constraints=[bounded]
    )
    np.testing.assert_allclose(ball("l2", 0.5).project(delta)[0], found.x, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_keeps_what_is_inside_and_zero_stays_zero(norm: str) -> None:
    threat = ball(norm, 0.5)
    inside = threat.project(normal(8, 5)) * 0.9
    assert torch.equal(threat.project(inside), inside)
    assert torch.equal(threat.project(torch.zeros(2, 5)), torch.zeros(2, 5))


@pytest.mark.parametrize("norm", NORMS)
def test_samples_fill_the_ball_and_spheres_have_full_length(norm: str) -> None:
    threat, noise = ball(norm, 0.25), normal(2000, 3)
    lengths = threat.length(threat.sample(noise))
    assert float(lengths.max()) <= 0.25 * (1 + 1e-12)
    # The radius law of the uniform ball in d = 3 dimensions is P(length < r) = (r / epsilon)^3, for both norms.
    assert abs(float((lengths < 0.2).double().mean()) - 0.8**3) < 0.04
    assert torch.allclose(threat.length(threat.sphere(noise)), torch.tensor(0.25, dtype=torch.float64))


def test_linf_corners_are_corners_and_samples_of_no_input_are_none() -> None:
    corners = ball("linf", 0.25).sphere(normal(50, 3))
    assert set(corners.flatten().tolist()) == {-0.25, 0.25}
    for norm in NORMS:
        assert ball(norm, 0.25).sample(torch.zeros(0, 3)).shape == (0, 3)


def test_l1_spheres_are_uniform_and_steepest_steps_take_the_first_of_equals() -> None:
    # On the uniform l_1 sphere of d = 3 a coordinate's magnitude over the radius is Beta(1, 2): mean 1/3, P(< 0.5) 3/4.
    shares = ball("l1", 2.0).sphere(normal(4000, 3)).abs() / 2.0
    assert torch.allclose(shares.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.02)
    assert torch.allclose((shares < 0.5).double().mean(0), torch.full((3,), 0.75, dtype=torch.float64), atol=0.03)
    assert ball("l1", 2.0).steepest(torch.tensor([[1.0, -4.0, 4.0]])).tolist() == [[0, -1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@settings(deadline=None, max_examples=60)
@given(
    norm=st.sampled_from(NORMS),
    epsilon=st.floats(1e-3, 20.0),
    d=st.integers(1, 400),
    seed=st.integers(0, 2**20),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    centre=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_points_of_the_inner_ball_never_leave_ball_and_box(
    dtype: torch.dtype, norm: str, epsilon: float, d: int, seed: int, scale: float, centre: float
) -> None:
    x = ((normal(3, d, seed=seed) * 0.2 + centre).clamp(0, 1)).to(dtype)
    _stays(ball(norm, epsilon), x, normal(3, d, seed=seed + 1, dtype=dtype) * scale)


@pytest.mark.parametrize(("norm", "epsilon", "side"), [("l2", 0.5, 1024), ("l2", 20.0, 1024), ("l1", 50.0, 512)])
def test_float32_points_stay_inside_for_large_images(norm: str, epsilon: float, side: int) -> None:
    x, delta = (torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    _stays(ball(norm, epsilon), 0.45 + 0.1 * x, delta - 0.5)


@pytest.mark.parametrize("norm", NORMS)
def test_without_walls_the_margin_grows_with_the_values(norm: str) -> None:
    threat = ball(norm, 1000.0)
    x, delta = torch.rand(20, 300, generator=torch.Generator().manual_seed(0)), normal(20, 300, dtype=torch.float32)
    smaller = inner(threat, 300, largest=1001.0)
    assert smaller.epsilon < inner(threat, 300).epsilon
    moved = (smaller.within(x, x + 1e6 * delta, EVERYWHERE).double() - x.double()).numpy()
    assert np.linalg.norm(moved, ORDER[norm], axis=1).max() <= 1000.0


def _stays(threat: Ball, x: Tensor, delta: Tensor) -> None:
    smaller = inner(threat, x[0].numel(), dtype=x.dtype)
    assert smaller.epsilon < threat.epsilon
    steps = [in_box(x, smaller.project(delta)), smaller.within(x, x + delta, PIXELS)]
    steps += [smaller.full_step(x, delta, PIXELS), in_box(x, smaller.sample(delta)), in_box(x, smaller.sphere(delta))]
    for x_adv in steps:
        assert x_adv.dtype == x.dtype
        moved = (x_adv.double() - x.double()).flatten(1).numpy()
        # fsum would be exact; float64 sums of float64 pixels may themselves round.
        slack = 1.0 if x.dtype == torch.float32 else 1 + 1e-12
        assert np.linalg.norm(moved, ORDER[threat.norm], axis=1).max() <= threat.epsilon * slack
        assert float(x_adv.min()) >= 0
        assert float(x_adv.max()) <= 1


def test_inner_never_gives_up_more_than_half_the_radius() -> None:
    assert inner(ball("l2", 1e-9), 10**6).epsilon == 0.5e-9


def test_clamping_to_the_box_never_lengthens_a_perturbation() -> None:
    x, delta = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)).double(), normal(20, 6)
    moved = in_box(x, delta) - x
    assert bool((moved.abs() <= delta.abs() + 1e-15).all())


def test_unknown_norms_and_radii_that_are_not_positive_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown norm 'l3': expected one of linf, l2, l1"):
        ball("l3", 0.1)
    for epsilon in (0.0, -0.1, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="epsilon must be a positive number in pixel units"):
            ball("linf", epsilon)

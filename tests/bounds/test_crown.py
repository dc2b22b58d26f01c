"""CROWN against explicit matrices, the exact bound of tiny networks, samples, and exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from brittle.bounds.crown import crown_margins, interval_exact, relax
from brittle.bounds.crown_alpha import alpha_crown
from brittle.bounds.crown_plan import before_nonlinear, plan, row_costs
from brittle.bounds.crown_region import region
from brittle.errors import ModelError, UsageError
from brittle.operators.graph import Graph, Node, Opaque, Source
from brittle.threats import ball
from tests.bounds.small_graphs import ACTIVATIONS, inputs, mlp, mlp_weights, points, residual

Weights = list[tuple[np.ndarray, np.ndarray]]


def _numpy(weights: list[tuple[Tensor, Tensor]]) -> Weights:
    return [(w.numpy(), b.numpy()) for w, b in weights]


def _minimum(a: np.ndarray, x: np.ndarray, norm: str, eps: float) -> float:
    if norm == "l2":
        return float(a @ x - eps * np.sqrt(a @ a))
    low, high = np.maximum(x - eps, 0), np.minimum(x + eps, 1)
    return float(np.sum(np.minimum(a * low, a * high)))


def _reference(weights: Weights, x: np.ndarray, y: int, norm: str, eps: float) -> np.ndarray:
    """CROWN for a ReLU network, one functional and one input at a time, from the paper's equations."""
    diagonals: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # lower slope, upper slope, upper offset

    def bound(a: np.ndarray, layer: int) -> float:
        """Lower bound of `a . (pre-activation of layer)`."""
        total = 0.0
        for k in range(layer, -1, -1):
            w, b = weights[k]
            total += float(a @ b)
            a = a @ w
            if k > 0:
                low, up, offset = diagonals[k - 1]
                total += float(np.minimum(a, 0) @ offset)
                a = np.maximum(a, 0) * low + np.minimum(a, 0) * up
        return total + _minimum(a, x, norm, eps)

    low, high = np.maximum(x - eps, 0), np.minimum(x + eps, 1)
    for k, (w, b) in enumerate(weights[:-1]):
        lower = np.maximum(w, 0) @ low + np.minimum(w, 0) @ high + b
        upper = np.maximum(w, 0) @ high + np.minimum(w, 0) @ low + b
        for i in range(len(b)):
            if k == 0 or lower[i] < 0 < upper[i]:
                unit = np.eye(len(b))[i]
                lower[i] = max(lower[i], bound(unit, k))
                upper[i] = min(upper[i], -bound(-unit, k))
        crossing = (lower < 0) & (upper > 0)
        up = np.where(crossing, upper / np.where(crossing, upper - lower, 1), lower >= 0)
        slope = np.where(crossing, upper >= -lower, lower >= 0).astype(float)
        diagonals.append((slope, up, np.where(crossing, -up * lower, 0)))
        low, high = np.maximum(lower, 0), np.maximum(upper, 0)
    classes = len(weights[-1][1])
    rows = [np.eye(classes)[y] - np.eye(classes)[j] for j in range(classes)]
    return np.array([np.inf if j == y else bound(rows[j], len(weights) - 1) for j in range(classes)])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("sizes", "eps"), [((5, 7, 3), 0.1), ((6, 9, 8, 4), 0.05), ((8, 12, 10, 9, 5), 0.15)])
def test_equals_an_independent_implementation(norm: str, sizes: tuple[int, ...], eps: float) -> None:
    for seed in range(5):
        weights = mlp_weights(seed, sizes)
        graph = mlp(weights)
        x = inputs(graph, seed, n=4)
        y = graph.evaluate(x)[-1].argmax(1)
        ours = crown_margins(graph, x, y, ball(norm, eps)).numpy()
        for i in range(4):
            theirs = _reference(_numpy(weights), x[i].numpy(), int(y[i]), norm, eps)
            np.testing.assert_allclose(ours[i], theirs, rtol=0, atol=1e-8)


def _exact(weights: Weights, x: np.ndarray, y: int, j: int, eps: float) -> float:
    """The minimum of `z_y - z_j` over the box: a linear programme for every pattern of active neurons."""
    hidden = [len(b) for _, b in weights[:-1]]
    best = np.inf
    box = list(zip(np.maximum(x - eps, 0), np.minimum(x + eps, 1), strict=True))
    for pattern in product((0.0, 1.0), repeat=sum(hidden)):
        a, c, rows, limits, start = np.eye(len(x)), np.zeros(len(x)), [], [], 0
        for (w, b), n in zip(weights[:-1], hidden, strict=True):
            active = np.array(pattern[start : start + n])
            start += n
            pre, shift = w @ a, w @ c + b
            sign = 1 - 2 * active  # active: pre >= 0, that is -pre x <= shift
            rows.append(sign[:, None] * pre)
            limits.append(-sign * shift)
            a, c = active[:, None] * pre, active * shift
        w, b = weights[-1]
        cost = (w[y] - w[j]) @ a
        done = linprog(cost, A_ub=np.concatenate(rows), b_ub=np.concatenate(limits), bounds=box)
        if done.status == 0:
            best = min(best, done.fun + (w[y] - w[j]) @ c + b[y] - b[j])
    return float(best)


def test_never_above_the_exact_bound_and_alpha_lies_between() -> None:
    for seed in range(5):
        weights = mlp_weights(seed, (3, 3, 3, 2))
        graph = mlp(weights)
        x = inputs(graph, seed, n=1)
        y = graph.evaluate(x)[-1].argmax(1)
        threat = ball("linf", 0.4)
        crown = crown_margins(graph, x, y, threat)[0]
        alpha = alpha_crown(graph, x, y, threat, steps=30)[0]
        j = 1 - int(y[0])
        exact = _exact(_numpy(weights), x[0].numpy(), int(y[0]), j, 0.4)
        assert crown[j] <= alpha[j] <= exact + 1e-7


def test_alpha_raises_undecided_margins() -> None:
    graph = mlp(mlp_weights(0, (8, 20, 20, 5)))
    x = inputs(graph, 0, n=6)
    y = graph.evaluate(x)[-1].argmax(1)
    threat = ball("linf", 0.1)
    crown, alpha = crown_margins(graph, x, y, threat), alpha_crown(graph, x, y, threat, steps=30)
    undecided = crown <= 0
    assert bool((alpha[undecided] > crown[undecided] + 1e-3).any())
    assert bool((alpha >= crown).all())
    for point in points(x, "linf", 0.1, 0):
        z = graph.evaluate(point)[-1]
        assert bool(((z.gather(1, y[:, None]) - z) >= alpha.where(alpha < torch.inf, -torch.inf)).all())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(sorted(ACTIVATIONS)),
    norm=st.sampled_from(["linf", "l2"]),
    epsilon=st.sampled_from([1e-5, 0.02, 0.2]),
    pool=st.booleans(),
)
def test_margins_and_ranges_hold_at_admissible_points(
    seed: int, kind: str, norm: str, epsilon: float, pool: bool
) -> None:
    graph = residual(seed, kind, pool)
    x = inputs(graph, seed)
    y = graph.evaluate(x)[-1].argmax(1)
    bounds = crown_margins(graph, x, y, ball(norm, epsilon))
    around = region(norm, x, torch.full((len(x),), epsilon, dtype=torch.float64))
    ranges = relax(graph, around, frozenset(before_nonlinear(graph)), {}).intervals
    for point in points(x, norm, epsilon, seed, 60):
        values = graph.evaluate(point)
        margins = values[-1].gather(1, y[:, None]) - values[-1]
        assert bool((margins >= bounds.where(bounds < torch.inf, -torch.inf)).all())
        for value, interval in zip(values, ranges, strict=True):
            assert bool(((value >= interval.lower) & (value <= interval.upper)).all())


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_a_tiny_ball_gives_the_margin_itself(kind: str) -> None:
    graph = residual(5, kind)
    x = inputs(graph, 5)
    z = graph.evaluate(x)[-1]
    y = z.argmax(1)
    bounds = crown_margins(graph, x, y, ball("linf", 1e-9))
    margins = (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], torch.inf)
    torch.testing.assert_close(bounds, margins, rtol=0, atol=2e-5)  # smooth activations are given 1e-8 each


def test_rounding_is_inside_the_bound() -> None:
    """Linear networks with cancelling weights on a ball of no size: the true margin is never below the bound."""
    rng = torch.Generator().manual_seed(0)
    above = 0
    for _ in range(40):
        big = 10.0 ** torch.randint(0, 12, (40,), generator=rng) * torch.randn(40, dtype=torch.float64, generator=rng)
        w = torch.zeros(2, 80, dtype=torch.float64)
        w[0] = torch.cat([big, -big])[torch.randperm(80, generator=rng)]
        x = 0.1 + 0.8 * torch.rand(1, 40, dtype=torch.float64, generator=rng).repeat(1, 2)
        graph = mlp([(w, torch.zeros(2, dtype=torch.float64))])
        bound = float(crown_margins(graph, x, torch.tensor([0]), ball("l2", 1e-40))[0, 1])
        exact = sum((Fraction(float(a)) * Fraction(float(v)) for a, v in zip(w[0], x[0], strict=True)), Fraction(0))
        assert Fraction(bound) <= exact
        above += Fraction(float((w[0] * x[0]).sum())) > exact
    assert above > 0  # the plain sum does exceed the truth: the debt is needed


def test_crown_is_tighter_than_interval_ranges_inside() -> None:
    graph = mlp(mlp_weights(0, (8, 12, 10, 9, 5)))
    x = inputs(graph, 0)
    around = region("linf", x, torch.full((len(x),), 0.05, dtype=torch.float64))
    plain = relax(graph, around, frozenset(), {}).intervals[5]
    tight = relax(graph, around, frozenset(before_nonlinear(graph)), {}).intervals[5]
    assert bool((tight.lower >= plain.lower - 1e-12).all())
    assert bool((tight.upper <= plain.upper + 1e-12).all())
    assert float((tight.upper - tight.lower).mean()) < 0.7 * float((plain.upper - plain.lower).mean())


def test_exact_nodes_of_a_box() -> None:
    assert interval_exact(residual(0)) == {1, 2}
    assert interval_exact(mlp(mlp_weights(0, (3, 4, 2)))) == {1}


def test_the_plan_refines_in_order_within_its_budget() -> None:
    graph = mlp(mlp_weights(0, (4, 5, 6, 3)))
    costs = row_costs(graph)
    # products of the layers and ten passes over every node on the way
    assert costs[-1] == 4 * 5 + 5 * 6 + 6 * 3 + 10 * (4 + 5 + 5 + 6 + 6 + 3)
    whole = plan(graph, 1e9)
    assert whole.refine == {1, 3}
    assert whole.left == ()
    part = plan(graph, whole.work - 1)
    assert part.refine == {1}
    assert part.left == ("fc1",)
    assert part.work < whole.work
    assert plan(graph, 1.0).work > 1.0


def test_refusals() -> None:
    graph = mlp(mlp_weights(0, (4, 5, 3)))
    x, threat = inputs(graph, 0), ball("linf", 0.1)
    odd = Graph((Node("input", Source(), (), (4,)), Node("odd", Opaque("it is odd"), (0,), (3,))))
    for bound in (crown_margins, alpha_crown):
        with pytest.raises(ModelError, match="it is odd"):
            bound(odd, x, torch.zeros(3, dtype=torch.int64), threat)
        with pytest.raises(UsageError, match="expected 3 labels from 0 to 2"):
            bound(graph, x, torch.tensor([0, 1, 3]), threat)
        with pytest.raises(UsageError, match="inputs of shape"):
            bound(graph, x[:, :3], torch.zeros(3, dtype=torch.int64), threat)
    with pytest.raises(UsageError, match="steps >= 0"):
        alpha_crown(graph, x, torch.zeros(3, dtype=torch.int64), threat, steps=-1)

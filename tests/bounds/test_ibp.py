"""Interval bounds: closed forms for one layer, sampled points for whole networks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.bounds.crown_region import region
from brittle.bounds.ibp import ibp, linear_nodes, linear_norms
from brittle.errors import ModelError, UsageError
from brittle.operators.graph import Graph, Node, Opaque, Source
from tests.bounds.small_graphs import ACTIVATIONS, inputs, mlp, mlp_weights, points, residual


def _radii(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    return torch.full((len(x),), epsilon, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(sorted(ACTIVATIONS)),
    norm=st.sampled_from(["linf", "l2"]),
    epsilon=st.sampled_from([1e-6, 0.03, 0.3, 2.0]),
    pool=st.booleans(),
)
def test_every_node_of_admissible_points_lies_in_its_interval(
    seed: int, kind: str, norm: str, epsilon: float, pool: bool
) -> None:
    graph = residual(seed, kind, pool)
    x = inputs(graph, seed)
    intervals = ibp(graph, region(norm, x, _radii(x, epsilon)))
    for point in points(x, norm, epsilon, seed, 50):
        for value, interval in zip(graph.evaluate(point), intervals, strict=True):
            assert bool((value >= interval.lower).all())
            assert bool((value <= interval.upper).all())


def test_one_layer_over_a_box_is_exact() -> None:
    weights = mlp_weights(0, (6, 4))
    graph = mlp(weights)
    x = inputs(graph, 1)
    interval = ibp(graph, region("linf", x, _radii(x, 0.2)))[-1]
    low, high = (x - 0.2).clamp(min=0), (x + 0.2).clamp(max=1)
    w, b = weights[0]
    below = low @ w.clamp(min=0).T + high @ w.clamp(max=0).T + b
    above = high @ w.clamp(min=0).T + low @ w.clamp(max=0).T + b
    torch.testing.assert_close(interval.lower, below, rtol=0, atol=1e-12)
    torch.testing.assert_close(interval.upper, above, rtol=0, atol=1e-12)


def test_one_layer_over_a_ball_is_reached_along_its_row() -> None:
    weights = mlp_weights(0, (6, 4))
    graph = mlp(weights)
    x = torch.full((1, 6), 0.5, dtype=torch.float64)
    interval = ibp(graph, region("l2", x, _radii(x, 0.1)))[-1]
    w, b = weights[0]
    ends = x + 0.1 * w / w.norm(dim=1, keepdim=True)  # one point for each neuron
    reached = (ends * w).sum(1) + b
    torch.testing.assert_close(interval.upper[0], reached, rtol=0, atol=1e-12)


def test_linear_norms_are_the_row_norms_of_the_product() -> None:
    graph = residual(3)
    norms = linear_norms(graph)
    assert sorted(norms) == sorted(linear_nodes(graph)) == [1, 2]
    zero = graph.evaluate(torch.zeros(1, 2, 5, 5, dtype=torch.float64))
    unit = torch.eye(50, dtype=torch.float64).view(50, 2, 5, 5)
    columns = graph.evaluate(unit)
    for index in norms:
        matrix = (columns[index] - zero[index]).flatten(1).T
        expected = matrix.norm(dim=1)
        torch.testing.assert_close(norms[index].flatten(), expected, rtol=1e-10, atol=1e-12)
    assert linear_norms(graph, work_limit=10) == {}


def test_a_node_that_was_not_read_is_refused() -> None:
    graph = Graph((Node("input", Source(), (), (2,)), Node("odd", Opaque("it is odd"), (0,), (2,))))
    with pytest.raises(ModelError, match="read completely: it is odd"):
        ibp(graph, region("linf", torch.zeros(1, 2), torch.zeros(1)))


@pytest.mark.parametrize(
    ("norm", "x", "epsilon", "message"),
    [
        ("l7", torch.zeros(2, 3), torch.ones(2), "unknown norm 'l7'"),
        ("linf", torch.full((2, 3), 1.5), torch.ones(2), "pixels in"),
        ("linf", torch.full((2, 3), float("nan")), torch.ones(2), "pixels in"),
        ("l2", torch.zeros(2, 3), torch.ones(3), "expected 2 finite radii"),
        ("l2", torch.zeros(2, 3), -torch.ones(2), "expected 2 finite radii"),
    ],
)
def test_regions_refuse(norm: str, x: torch.Tensor, epsilon: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        region(norm, x, epsilon)

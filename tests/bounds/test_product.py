"""The product of norms: closed forms node by node, measured norms reused by name, never below a slope."""

from __future__ import annotations

from math import inf, sqrt

import pytest
import torch

from brittle.bounds.product import node_norms, product_constants
from brittle.operators.activations import Slopes
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Opaque, Reshape, Source, Sum
from brittle.operators.linear import DenseView
from brittle.operators.pointwise import DiagonalView
from brittle.results.layer import NormBound
from tests.bounds.small_graphs import residual
from tests.bounds.steepness import steepness, steepness_of
from tests.cases import normal
from tests.operators.nets import NETS, graph_of

W = normal(4, 4, seed=1)
TRUE = {"linf": float(W.abs().sum(1).max()), "l2": float(torch.linalg.matrix_norm(W, 2))}
OVERLAP = {"linf": 1.0, "l2": 2.0}


def constants(graph: Graph, norm: str) -> tuple[float, ...]:
    return product_constants(graph, norm, node_norms(graph, norm, {}))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_kind_of_node_has_its_factor(norm: str) -> None:
    nodes = (
        Node("input", Source(), (), (1, 3, 3)),
        Node("pool", MaxPool((2, 2), (1, 1), (0, 0), (1, 1), False), (0,), (1, 2, 2)),
        Node("flat", Reshape(), (1,), (4,)),
        Node("fc", Affine(DenseView(W), torch.ones(4)), (2,), (4,)),
        Node("silu", Activation("silu", Slopes(-0.1, 1.1), torch.nn.functional.silu), (3,), (4,)),
        Node("down", Activation("down", Slopes(-3.0, 1.0), torch.abs), (3,), (4,)),
        Node("sum", Sum((1.0, -0.5, 2.0)), (2, 4, 5), (4,)),
    )
    found, p, t = constants(Graph(nodes), norm), OVERLAP[norm], TRUE[norm]
    wanted = [1.0, p, p, p * t, 1.1 * p * t, 3 * p * t, p + 0.55 * p * t + 6 * p * t]
    assert found == pytest.approx(wanted, rel=1e-12)
    assert all(f >= w * (1 - 1e-14) for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_residual_branch_adds_one(norm: str) -> None:
    nodes = (
        Node("input", Source(), (), (4,)),
        Node("fc", Affine(DenseView(W), None), (0,), (4,)),
        Node("sum", Sum((1.0, 1.0)), (0, 1), (4,)),
    )
    assert constants(Graph(nodes), norm)[-1] == pytest.approx(1 + TRUE[norm], rel=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", NETS)
def test_no_slope_of_a_net_exceeds_the_product(name: str, norm: str) -> None:
    assert steepness_of(name, norm).whole <= constants(graph_of(name), norm)[-1] * (1 + 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_slope_of_a_residual_net_exceeds_it(norm: str) -> None:
    for seed in range(4):
        graph = residual(seed, "gelu")
        assert steepness(graph, norm, seed).whole <= constants(graph, norm)[-1] * (1 + 1e-6)


def test_measured_norms_are_reused_for_weight_layers_only() -> None:
    nodes = (
        Node("input", Source(), (), (4,)),
        Node("fc", Affine(DiagonalView(torch.full((4,), 7.0), (4,)), None), (0,), (4,)),
        Node("fc", Affine(DenseView(W), None), (1,), (4,)),
        Node("other", Affine(DenseView(2 * W), None), (2,), (4,)),
    )
    found = node_norms(Graph(nodes), "l2", {"fc": NormBound(99.0, "upper_bound", 1.0)})
    assert found[1].value == 7.0  # a step of the same module, not the measured layer
    assert found[2].value == 99.0
    assert found[3].value == pytest.approx(2 * TRUE["l2"], rel=1e-12)
    assert set(found) == {1, 2, 3}


def test_opaque_nodes_have_no_constant() -> None:
    nodes = (
        Node("input", Source(), (), (4,)),
        Node("strange", Opaque("why"), (0,), (4,)),
        Node("zero", Affine(DenseView(torch.zeros(2, 4)), None), (1,), (2,)),
    )
    assert constants(Graph(nodes), "l2") == (1.0, inf, inf)


def test_overflow_is_infinite_not_a_number() -> None:
    big = DenseView(torch.full((4, 4), 1e300, dtype=torch.float64))
    nodes = [Node("input", Source(), (), (4,))]
    nodes += [Node(f"fc{i}", Affine(big, None), (i,), (4,)) for i in range(2)]
    zero = Activation("zero", Slopes(0.0, 0.0), torch.zeros_like)
    found = constants(Graph((*nodes, Node("zero", zero, (2,), (4,)))), "linf")
    assert found[2] == inf
    assert found[3] == inf


def test_overlap_of_a_dilated_pooling_is_counted() -> None:
    pool = MaxPool((2, 2), (1, 1), (0, 0), (2, 2), False)
    graph = Graph((Node("input", Source(), (), (1, 4, 4)), Node("pool", pool, (0,), (1, 2, 2))))
    assert constants(graph, "l2")[-1] == pytest.approx(sqrt(pool.overlap((1, 4, 4))))
    assert pool.overlap((1, 4, 4)) == 1  # ceil(k / s)^2 would say 4

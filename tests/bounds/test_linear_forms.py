"""The loop bounds: exact where networks are linear, the published formula on chains, never below a slope on any net."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from brittle.bounds.linear_forms import cost, propagate
from brittle.bounds.product import node_norms, product_constants
from brittle.operators.activations import Slopes
from brittle.operators.graph import Activation, Affine, Graph, MaxPool, Node, Opaque, Reshape, Source, Sum
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.view import LinearView
from tests.bounds.small_graphs import ACTIVATIONS, activation, mlp, mlp_weights, residual
from tests.bounds.steepness import steepness, steepness_of
from tests.cases import CONVOLUTIONS, normal
from tests.operators.nets import NETS, graph_of
from tests.operators.reference import dense_of


def sequence(*views: LinearView) -> Graph:
    nodes = [Node("input", Source(), (), views[0].in_shape)]
    for view in views:
        if nodes[-1].shape != view.in_shape:
            nodes.append(Node("flat", Reshape(), (len(nodes) - 1,), view.in_shape))
        nodes.append(Node("", Affine(view, None), (len(nodes) - 1,), view.out_shape))
    return Graph(tuple(nodes))


def loop(graph: Graph, norm: str) -> float:
    found = propagate(graph, node_norms(graph, "l2", {}))
    return found.l2 if norm == "l2" else float(found.linf.max())


def norm_of(matrix: Tensor, norm: str) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2) if norm == "l2" else matrix.abs().sum(1).max())


LOW_RANK = FactorisedView(DenseView(normal(6, 2, seed=4)), DenseView(normal(2, 7, seed=5)))
LINEAR = {
    "one layer": (DenseView(normal(3, 5, seed=1)),),
    "three layers": (DenseView(normal(9, 5, seed=1)), DenseView(normal(8, 9, seed=2)), DenseView(normal(3, 8, seed=3))),
    "low-rank": (LOW_RANK, DenseView(normal(3, 6, seed=6))),
    "convolution": (CONVOLUTIONS["strided"], DenseView(normal(4, 6 * 5 * 4, seed=7))),
    "circular": (CONVOLUTIONS["circular, tiny"], DenseView(normal(4, 24, seed=7))),
}  # fmt: skip


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_network_is_exact(name: str, norm: str) -> None:
    matrix = torch.eye(int(np.prod(LINEAR[name][0].in_shape)), dtype=torch.float64)
    for view in LINEAR[name]:
        matrix = dense_of(view) @ matrix
    truth = norm_of(matrix, norm)
    assert truth * (1 - 1e-13) <= loop(sequence(*LINEAR[name]), norm) <= truth * (1 + 1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_signed_sums_of_linear_maps_are_exact(norm: str) -> None:
    a, b = normal(4, 4, seed=1), normal(4, 4, seed=2)
    nodes = (
        Node("input", Source(), (), (4,)),
        Node("a", Affine(DenseView(a), None), (0,), (4,)),
        Node("b", Affine(DenseView(b), None), (1,), (4,)),
        Node("sum", Sum((1.0, -0.3, 2.0)), (2, 0, 1), (4,)),
        Node("twice", Sum((1.0, -3.0)), (3, 3), (4,)),
    )
    truth = norm_of(-2 * (b @ a - 0.3 * torch.eye(4, dtype=torch.float64) + 2 * a), norm)
    assert loop(Graph(nodes), norm) == pytest.approx(truth, rel=1e-12)


def test_the_input_as_output_and_what_cancels() -> None:
    source = Node("input", Source(), (), (3,))
    same = Graph((source, Node("output", Reshape(), (0,), (3,))))
    gone = Graph((source, Node("difference", Sum((1.0, -1.0)), (0, 0), (3,))))
    for norm in ("linf", "l2"):
        assert loop(same, norm) == pytest.approx(1.0, rel=1e-14)
        assert loop(gone, norm) == 0.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_activation_or_pooling_on_the_input(norm: str) -> None:
    source = Node("input", Source(), (), (1, 3, 3))
    relu = Graph((source, Node("relu", activation("relu"), (0,), (1, 3, 3))))
    assert loop(relu, norm) == pytest.approx(1.0, rel=1e-14)
    # The pixel in the middle is in all four windows: 2 in l_2, and it is reached.
    pool = MaxPool((2, 2), (1, 1), (0, 0), (1, 1), False)
    pooled = Graph((source, Node("pool", pool, (0,), (1, 2, 2))))
    assert loop(pooled, norm) == pytest.approx(1.0 if norm == "linf" else 2.0, rel=1e-14)
    assert steepness(pooled, norm).whole <= loop(pooled, norm) * (1 + 1e-9)
    step = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    step[1, 0, 1, 1] = 1.0
    change = pooled.evaluate(step)[-1].diff(dim=0).flatten()
    assert float(change.norm() if norm == "l2" else change.abs().max()) == (2.0 if norm == "l2" else 1.0)


def numpy_loops(weights: list[np.ndarray]) -> tuple[float, float]:
    """LipLT with T = I and the componentwise loop bound of a chain with slopes in [0, 1], theory section 4."""

    def after(j: int, k: int) -> np.ndarray:
        """W_k ... W_(j+1)."""
        out = np.eye(len(weights[j - 1])) if j else np.eye(weights[0].shape[1])
        for w in weights[j:k]:
            out = w @ out
        return out

    lengths: list[float] = []
    rows: list[np.ndarray] = []
    for k in range(1, len(weights) + 1):
        l2 = 0.5 ** (k - 1) * np.linalg.norm(after(0, k), 2)
        linf = 0.5 ** (k - 1) * np.abs(after(0, k)).sum(1)
        for j in range(1, k):
            l2 += 0.5 ** (k - j) * np.linalg.norm(after(j, k), 2) * lengths[j - 1]
            linf = linf + 0.5 ** (k - j) * np.abs(after(j, k)) @ rows[j - 1]
        lengths.append(l2), rows.append(linf)
    return lengths[-1], float(rows[-1].max())


@pytest.mark.parametrize("sizes", [(5, 4, 3), (6, 8, 7, 3), (4, 9, 3, 8, 5, 2)])
def test_chains_match_the_published_recursion(sizes: tuple[int, ...]) -> None:
    weights = mlp_weights(1, sizes)
    l2, linf = numpy_loops([w.numpy() for w, _ in weights])
    graph = mlp(weights)
    assert loop(graph, "l2") == pytest.approx(l2, rel=1e-10)
    assert loop(graph, "linf") == pytest.approx(linf, rel=1e-10)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "gelu", "abs"])
@pytest.mark.parametrize("seed", range(3))
def test_two_layers_against_every_pattern_of_slopes(seed: int, kind: str, norm: str) -> None:
    weights = mlp_weights(seed, (4, 8, 3))
    (b, _), (a, _) = weights
    slopes = ACTIVATIONS[kind][0]
    patterns = torch.tensor(list(product((slopes.low, slopes.high), repeat=8)), dtype=torch.float64)
    matrices = a @ (patterns[:, :, None] * b)
    truth = torch.linalg.matrix_norm(matrices, 2).max() if norm == "l2" else matrices.abs().sum(2).amax(1).max()
    graph = mlp(weights, kind)
    found = loop(graph, norm)
    assert float(truth) <= found <= product_constants(graph, norm, node_norms(graph, norm, {}))[-1] * (1 + 1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", NETS)
def test_no_slope_of_a_net_exceeds_the_loop_bound(name: str, norm: str) -> None:
    assert steepness_of(name, norm).whole <= loop(graph_of(name), norm) * (1 + 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["relu", "gelu", "tanh"])
def test_no_slope_of_a_residual_net_exceeds_it(kind: str, norm: str) -> None:
    for seed in range(4):
        for pool in (True, False):
            graph = residual(seed, kind, pool)
            assert steepness(graph, norm, seed).whole <= loop(graph, norm) * (1 + 1e-6)


def test_one_pair_of_weights_shows_that_slopes_beyond_one_count() -> None:
    """|x| written as an activation of slopes [-1, 1]: x -> |x| - |-x| is 0, but no bound by signs can know; L = 2."""
    node = Activation("abs", Slopes(-1.0, 1.0), torch.abs)
    graph = Graph(
        (
            Node("input", Source(), (), (1,)),
            Node("both", Affine(DenseView(torch.tensor([[1.0], [-1.0]])), None), (0,), (2,)),
            Node("abs", node, (1,), (2,)),
            Node("out", Affine(DenseView(torch.tensor([[1.0, 1.0]])), None), (2,), (1,)),
        )
    )
    for norm in ("linf", "l2"):
        assert loop(graph, norm) == pytest.approx(2.0)


def test_known_norms_keep_the_margins_small_and_are_not_needed() -> None:
    graph = residual(1)
    coarse, fine = propagate(graph), propagate(graph, node_norms(graph, "l2", {}))
    assert fine.l2 <= coarse.l2
    assert coarse.l2 == pytest.approx(fine.l2, rel=1e-9)
    assert max(f.error for f in fine.output.values()) <= max(f.error for f in coarse.output.values())


def test_opaque_nodes_are_refused() -> None:
    graph = Graph((Node("input", Source(), (), (3,)), Node("strange", Opaque("why"), (0,), (3,))))
    with pytest.raises(ValueError, match="'strange' is opaque: a loop bound needs a graph without problems"):
        propagate(graph)


def test_weights_beyond_float64_give_infinity() -> None:
    big = DenseView(torch.full((2, 2), 1e200, dtype=torch.float64))
    found = propagate(sequence(big, big))
    assert found.l2 == float("inf")
    assert found.linf.tolist() == [float("inf")] * 2


def test_cost_grows_with_the_net_and_counts_what_is_held() -> None:
    def forecast(*sizes: int) -> tuple[float, float]:
        return cost(mlp(mlp_weights(0, sizes)))

    small, wide, deep = forecast(10, 20, 3), forecast(10, 40, 3), forecast(10, 20, 20, 3)
    assert small[0] < wide[0]
    assert small[1] < wide[1] < forecast(100, 400, 3)[1]
    assert small[1] < deep[1]
    # fc1 holds the identity (10, 10) and W (20, 10); fc2 both remainders' columns, 10 and 20, before and after.
    assert small[0] == max(30 * 10, (20 + 3) * (10 + 20))
    # A max pooling starts again: the second layer sees its 12 outputs only.
    source, pool = Node("input", Source(), (), (3, 4, 4)), MaxPool((2, 2), (2, 2), (0, 0), (1, 1), False)
    head = Node("head", Affine(DenseView(normal(2, 12, seed=1)), None), (2,), (2,))
    flat = Node("flat", Reshape(), (1,), (12,))
    assert cost(Graph((source, Node("pool", pool, (0,), (3, 2, 2)), flat, head)))[0] == (12 + 2) * 12

"""Constants of logit differences: closed forms for linear heads, never below a slope, never looser than the whole."""

from __future__ import annotations

from fractions import Fraction
from math import inf, sqrt

import pytest
import torch
from torch import Tensor

from brittle.bounds import pairs
from brittle.bounds.form import Form
from brittle.bounds.linear_forms import Propagation, Remainder, propagate
from brittle.bounds.pairs import loop_pairs, product_pairs
from brittle.bounds.product import node_norms, product_constants
from brittle.operators.graph import Affine, Graph, Node, Reshape, Source
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.view import LinearView
from tests.bounds.small_graphs import activation, mlp, mlp_weights, residual
from tests.bounds.steepness import steepness, steepness_of
from tests.cases import normal
from tests.operators.nets import NETS, graph_of
from tests.operators.reference import exact_matrix

NORMS = ["linf", "l2"]
DUAL = {"linf": 1, "l2": 2}


def tables(graph: Graph, norm: str) -> tuple[Tensor, Tensor]:
    by_product = product_pairs(graph, norm, node_norms(graph, norm, {}))
    return by_product, loop_pairs(propagate(graph, node_norms(graph, "l2", {})), norm)


def headed(*views: LinearView) -> Graph:
    nodes = [Node("input", Source(), (), views[0].in_shape)]
    nodes += [Node(f"fc{i}", Affine(view, None), (i,), view.out_shape) for i, view in enumerate(views)]
    return Graph((*nodes, Node("output", Reshape(), (len(views),), views[-1].out_shape)))


def distances(rows: Tensor, norm: str) -> Tensor:
    """Dual norms of c_j - c_k, one pair at a time."""
    return torch.stack([torch.stack([(a - b).norm(DUAL[norm]) for b in rows]) for a in rows])


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_classifier_is_exact(norm: str) -> None:
    c = normal(5, 7, seed=1)
    c[3] = c[1]  # two classes that no input tells apart
    for table in tables(headed(DenseView(c)), norm):
        torch.testing.assert_close(table, distances(c, norm), rtol=1e-9, atol=1e-12)
        assert bool((table >= distances(c, norm) * (1 - 1e-14)).all())
        assert table[1, 3] <= 1e-12  # rounding margins only
        assert torch.equal(table.diagonal(), torch.zeros(5, dtype=torch.float64))
    assert tables(headed(DenseView(c)), norm)[0][1, 3] == 0.0


@pytest.mark.parametrize("norm", NORMS)
def test_a_head_multiplies_the_encoders_constant(norm: str) -> None:
    weights = mlp_weights(1, (6, 5, 4))
    graph = mlp(weights)
    encoder = product_constants(graph, norm, node_norms(graph, norm, {}))[-2]
    torch.testing.assert_close(tables(graph, norm)[0], encoder * distances(weights[1][0], norm), rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_low_rank_head_is_its_product(norm: str) -> None:
    outer, inner = normal(4, 2, seed=1), normal(2, 6, seed=2)
    head = FactorisedView(DenseView(outer), DenseView(inner))
    found, truth = tables(headed(head), norm)[0], distances(outer @ inner, norm)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-12)
    assert bool((found >= truth * (1 - 1e-14)).all())


def test_the_rounding_of_a_low_rank_head_that_cancels_is_covered() -> None:
    for seed in range(10):
        near = normal(1, 4, seed=seed)
        outer = torch.cat([near, -near + 1e-15 * normal(1, 4, seed=seed + 50)], 1)
        inner = normal(4, 6, seed=seed + 100).repeat(2, 1)
        head = FactorisedView(DenseView(torch.cat([outer, 0 * outer])), DenseView(inner))
        exact = sum(abs(entry) for entry in exact_matrix(head)[0])  # the other class's row is zero
        assert Fraction(float(tables(headed(head), "linf")[0][0, 1])) >= exact


@pytest.mark.parametrize("norm", NORMS)
def test_errors_of_the_forms_count_in_every_pair(norm: str) -> None:
    form = Form(torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64), 0.0, 0.5)
    remainder = Remainder(3.0, torch.tensor([3.0, 4.0], dtype=torch.float64))
    found = Propagation(0.0, torch.zeros(2), {0: form}, (remainder,))
    # The true rows may be (1 + t, 0) and (1 - t, 0) with 2 t^2 = 0.25.
    apart = 2 * (0.25 / 2) ** 0.5 * 3
    assert float(loop_pairs(found, norm)[0, 1]) >= apart


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_linear_head_two_logits_move_at_most_together(norm: str) -> None:
    weight = normal(4, 6, seed=1)
    nodes = (
        Node("input", Source(), (), (6,)),
        Node("fc", Affine(DenseView(weight), None), (0,), (4,)),
        Node("relu", activation("relu"), (1,), (4,)),
    )
    whole = float(weight.abs().sum(1).max() if norm == "linf" else torch.linalg.matrix_norm(weight, 2))
    table = tables(Graph(nodes), norm)[0]
    factor = 2.0 if norm == "linf" else sqrt(2.0)
    torch.testing.assert_close(table, factor * whole * (1 - torch.eye(4, dtype=torch.float64)), rtol=1e-12, atol=0)


def test_a_head_on_tokens_is_no_linear_head() -> None:
    head = DenseView(normal(2, 3, seed=1), (2, 3))
    graph = Graph((*headed(head).nodes[:-1], Node("flat", Reshape(), (1,), (4,))))
    table = product_pairs(graph, "linf", node_norms(graph, "linf", {}))
    assert tuple(table.shape) == (4, 4)
    assert float(table[0, 1]) == pytest.approx(2 * head.linf_norm().value)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NETS)
def test_no_slope_of_a_difference_exceeds_its_pair(name: str, norm: str) -> None:
    steep = steepness_of(name, norm).pairs
    for table in tables(graph_of(name), norm):
        assert bool((steep <= table * (1 + 1e-6) + 1e-12).all())
        assert torch.equal(table, table.T)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["relu", "gelu", "leaky_relu", "sigmoid"])
def test_no_slope_of_a_residual_net_exceeds_its_pair(kind: str, norm: str) -> None:
    for seed in range(3):
        graph = residual(seed, kind, pool=seed % 2 == 0)
        for table in tables(graph, norm):
            assert bool((steepness(graph, norm, seed).pairs <= table * (1 + 1e-6)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_pair_never_exceeds_the_sum_of_its_logits(norm: str) -> None:
    found = propagate(mlp(mlp_weights(3, (8, 9, 9, 5))))
    table = loop_pairs(found, norm)
    single = found.linf if norm == "linf" else torch.full((5,), found.l2, dtype=torch.float64)
    assert bool((table <= (single[:, None] + single) * (1 + 1e-12)).all())
    assert bool((table < 0.95 * (single[:, None] + single) + torch.eye(5)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_many_classes_take_the_sum_and_chunks_change_nothing(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = propagate(mlp(mlp_weights(3, (8, 9, 5))))
    table = loop_pairs(found, norm)
    monkeypatch.setattr(pairs, "_CHUNK_ENTRIES", 10)
    torch.testing.assert_close(loop_pairs(found, norm), table, rtol=1e-14, atol=0)
    monkeypatch.setattr(pairs, "_MAX_CLASSES", 4)
    coarse = loop_pairs(found, norm)
    assert bool((coarse >= table).all())
    assert torch.equal(coarse.diagonal(), torch.zeros(5, dtype=torch.float64))
    if norm == "linf":
        torch.testing.assert_close(coarse[0, 1], found.linf[0] + found.linf[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_tiny_and_huge_weights(norm: str) -> None:
    tiny = 1e-200 * normal(3, 4, seed=1)  # its squares are zero in float64
    for table in tables(headed(DenseView(tiny)), norm):
        torch.testing.assert_close(table * 1e200, distances(tiny * 1e200, norm), rtol=1e-9, atol=0)
    big = DenseView(torch.full((3, 3), 1e250, dtype=torch.float64))
    for table in tables(headed(big, big, DenseView(normal(3, 3, seed=1))), norm):
        off = ~torch.eye(3, dtype=torch.bool)
        assert bool((table[off] == inf).all())
        assert not bool(table.isnan().any())


def test_one_logit_has_no_pairs() -> None:
    for table in tables(headed(DenseView(normal(1, 4, seed=1))), "l2"):
        assert table.tolist() == [[0.0]]

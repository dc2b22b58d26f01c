"""Dense chains against matrices of independent code, in exact arithmetic where rounding is claimed to be covered."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from brittle.bounds.dense_chain import DenseChain, DenseMap, NotDense, dense_chain, dense_map
from brittle.errors import ModelError
from brittle.operators.activations import Slopes
from brittle.operators.graph import Activation, Affine, Graph, Node, Source
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.network import read_network
from tests.cases import CONVOLUTIONS, normal
from tests.operators.reference import dense_convolution, exact_matrix, fractions


def _graph(model: nn.Module, shape: tuple[int, ...]) -> Graph:
    graph = read_network(model.double(), shape).graph
    assert graph is not None
    return graph


def _within(found: DenseMap, exact: np.ndarray) -> bool:
    error = np.abs(fractions(found.matrix) - exact)
    return bool((error <= fractions(found.errors())).all())


def test_the_layers_of_an_mlp_are_taken_as_they_are() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    chain = dense_chain(_graph(model, (1, 2, 3)))
    assert isinstance(chain, DenseChain)
    assert [m.slack for m in chain.maps] == [None] * 3
    assert all(torch.equal(m.matrix, model[i].weight) for m, i in zip(chain.maps, (1, 3, 5), strict=True))
    assert chain.slopes == (Slopes(0.0, 1.0), Slopes(0.0, 1.0))


def test_affine_maps_in_a_row_are_multiplied_with_their_rounding() -> None:
    model = nn.Sequential(nn.Linear(7, 30), nn.Linear(30, 30), nn.Linear(30, 4), nn.ReLU(), nn.Linear(4, 2))
    chain = dense_chain(_graph(model, (7,)))
    assert isinstance(chain, DenseChain)
    a, b, c = (fractions(model[i].weight.detach()) for i in (0, 1, 2))
    assert len(chain.maps) == 2
    assert _within(chain.maps[0], c @ b @ a)
    assert float(chain.maps[0].errors().max()) < 1e-12


@pytest.mark.parametrize("seed", range(10))
def test_the_slack_covers_products_that_cancel(seed: int) -> None:
    b = normal(20, 6, seed=seed)
    a = torch.cat([normal(3, 20, seed=seed + 50), torch.linalg.qr(b, mode="complete").Q[:, 6:9].T])  # a b is nearly 0
    product = DenseMap(a, None).after(DenseMap(b, None))
    assert _within(product, fractions(a) @ fractions(b))
    assert float(product.errors().max()) < 1e-13


def test_slack_of_both_factors_is_carried_through_a_product() -> None:
    a, b = normal(3, 4, seed=1), normal(4, 2, seed=2)
    near, far = torch.full_like(b, 1e-3), torch.full_like(a, 1e-2)
    product = DenseMap(a, far).after(DenseMap(b, near))
    for signs in range(4):
        moved_a = fractions(a) + (-1) ** (signs % 2) * fractions(far * a.sign())
        moved_b = fractions(b) + (-1) ** (signs // 2) * fractions(near)
        assert _within(product, moved_a @ moved_b)
    assert _within(DenseMap(a, None).after(DenseMap(b, near)), fractions(a) @ (fractions(b) + fractions(near)))
    aligned = fractions(a) @ (fractions(b) + fractions(near * a[0].sign()[:, None]))  # the first row's worst case
    assert _within(DenseMap(a, None).after(DenseMap(b, near)), aligned)


def test_a_scaled_map_covers_its_rounding() -> None:
    matrix = normal(5, 5, seed=0)
    assert _within(DenseMap(matrix, None).times(0.1), fractions(matrix) * Fraction(0.1))


def test_a_low_rank_pair_is_one_map_with_its_rounding() -> None:
    view = FactorisedView(DenseView(normal(9, 4, seed=1)), DenseView(normal(4, 8, seed=2)))
    assert _within(dense_map(view), exact_matrix(view))


@pytest.mark.parametrize("name", ["plain", "strided", "grouped", "dilated", "reflect", "one-dimensional"])
def test_convolutions_are_written_out(name: str) -> None:
    view = CONVOLUTIONS[name]
    found = dense_map(view)
    torch.testing.assert_close(found.matrix, dense_convolution(view), rtol=1e-13, atol=1e-13)
    assert float(found.errors().max()) < 1e-12


def test_a_convolutional_chain_computes_the_network() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    ).double()
    chain = dense_chain(_graph(model, (1, 6, 6)))
    assert isinstance(chain, DenseChain)
    x = torch.rand(4, 1, 6, 6, dtype=torch.float64)
    value = x.flatten(1) @ chain.maps[0].matrix.T + model[0].bias.repeat_interleave(16)
    value = nn.functional.leaky_relu(value, 0.1) @ chain.maps[1].matrix.T + model[4].bias
    torch.testing.assert_close(value, model(x))


def test_activations_at_both_ends_get_identities() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(3, 2), nn.Sigmoid())
    chain = dense_chain(_graph(model, (3,)))
    assert isinstance(chain, DenseChain)
    assert torch.equal(chain.maps[0].matrix, torch.eye(3, dtype=torch.float64))
    assert torch.equal(chain.maps[2].matrix, torch.eye(2, dtype=torch.float64))
    assert chain.slopes == (Slopes(0.0, 1.0), Slopes(0.0, 0.25))


def test_an_activation_with_one_slope_joins_the_linear_maps() -> None:
    a, b = normal(3, 4, seed=3), normal(2, 3, seed=4)
    nodes = (
        Node("x", Source(), (), (4,)),
        Node("a", Affine(DenseView(a), None), (0,), (3,)),
        Node("half", Activation("half", Slopes(0.5, 0.5), lambda t: t / 2), (1,), (3,)),
        Node("b", Affine(DenseView(b), None), (2,), (2,)),
    )
    chain = dense_chain(Graph(nodes))
    assert isinstance(chain, DenseChain)
    assert chain.slopes == ()
    torch.testing.assert_close(chain.maps[0].matrix, b @ a / 2)


def test_scaling_by_powers_of_two_is_exact_and_its_exponents_are_returned() -> None:
    a, b = normal(3, 4, seed=5) * 1e120, normal(2, 3, seed=6) * 1e-140
    chain = DenseChain((DenseMap(a, a.abs() * 1e-16), DenseMap(b, None)), (Slopes(0.0, 1.0),))
    unit, exponent = chain.unit()
    factors = [
        Fraction(float(m.matrix[0, 0])) / Fraction(float(w[0, 0])) for m, w in zip(unit.maps, (a, b), strict=True)
    ]
    assert factors[0] * factors[1] * Fraction(2) ** exponent == 1
    assert all(0.5 <= float(m.matrix.abs().max()) < 1 for m in unit.maps)
    assert torch.equal(unit.maps[0].matrix * float(1 / factors[0]), a)
    assert torch.equal(unit.maps[0].errors() * float(1 / factors[0]), chain.maps[0].errors())


def test_broken_weights_are_refused() -> None:
    with pytest.raises(ModelError, match="expected finite weights"):
        DenseChain((DenseMap(torch.tensor([[float("nan")]]), None),), ()).unit()


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.f(x))


@pytest.mark.parametrize(
    ("model", "shape", "why"),
    [
        (_Residual(), (4,), "branches are added"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)), (1, 6, 6), "max pooling"),
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1), nn.Linear(4, 2)), (4,), "softmax"),
    ],
)
def test_other_networks_are_refused_with_the_reason(model: nn.Module, shape: tuple[int, ...], why: str) -> None:
    chain = dense_chain(_graph(model, shape))
    assert isinstance(chain, NotDense)
    assert why in chain.why


def test_wide_networks_are_refused_with_their_width() -> None:
    chain = dense_chain(_graph(nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 2)), (4,)), max_width=49)
    assert isinstance(chain, NotDense)
    assert "50 coordinates, more than the 49" in chain.why


def test_unbounded_slopes_are_refused() -> None:
    nodes = (
        Node("x", Source(), (), (2,)),
        Node("square", Activation("square", Slopes(float("-inf"), float("inf")), torch.square), (0,), (2,)),
    )
    chain = dense_chain(Graph(nodes))
    assert isinstance(chain, NotDense)
    assert "slopes of 'square'" in chain.why


def test_zero_is_said_only_where_it_is_certain() -> None:
    zero = torch.zeros(2, 2, dtype=torch.float64)
    assert DenseMap(zero, None).zero()
    assert DenseMap(zero, zero).zero()
    assert not DenseMap(zero, zero + 1e-20).zero()

"""A layer's directions are the singular vectors and the dominant rows of its dense matrix."""

from __future__ import annotations

import pytest
import torch

from brittle.directions.layer import dominant_rows, layer_directions
from brittle.errors import UsageError
from brittle.operators.linear import DenseView, FactorisedView
from brittle.operators.view import LinearView, dense
from tests.cases import CONVOLUTIONS, normal
from tests.directions.dense import overlap

VIEWS: dict[str, LinearView] = {
    **CONVOLUTIONS,
    "dense": DenseView(normal(12, 20, seed=0)),
    "tokens": DenseView(normal(5, 7, seed=1), (3, 7)),
    "low-rank": FactorisedView(DenseView(normal(9, 3, seed=2)), DenseView(normal(3, 11, seed=3))),
}


@pytest.mark.parametrize("name", VIEWS)
def test_triplets_are_those_of_the_dense_matrix(name: str) -> None:
    view = VIEWS[name]
    t = dense(view)
    k = min(3, t.shape[1])
    found = layer_directions(view, k, budget=10**4)
    sigma = torch.linalg.svdvals(t)
    expected = torch.cat([sigma, torch.zeros(k)])[:k].double()
    torch.testing.assert_close(found.sigma, expected, rtol=1e-8, atol=1e-7)
    right, left = found.right.flatten(1), found.left.flatten(1)
    torch.testing.assert_close(right @ right.T, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(t @ right.T, (found.sigma[:, None] * left).T, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(t.T @ left.T, (found.sigma[:, None] * right).T, rtol=0, atol=1e-5 * float(sigma[0]))
    assert found.right.shape == (k, *view.in_shape)
    assert found.left.shape == (k, *view.out_shape)
    assert float(found.residuals.max()) <= 1e-6


def test_directions_beyond_the_rank_carry_nothing() -> None:
    found = layer_directions(VIEWS["low-rank"], 5)
    t = dense(VIEWS["low-rank"])
    assert overlap(found.right[:3], torch.linalg.svd(t)[2][:3]) > 1 - 1e-9
    assert float(found.sigma[3:].max()) < 1e-6 * float(found.sigma[0])
    silent = layer_directions(DenseView(torch.zeros(3, 4)), 2)
    assert silent.sigma.tolist() == silent.residuals.tolist() == [0.0, 0.0]
    assert not silent.left.any()


@pytest.mark.parametrize("name", VIEWS)
def test_dominant_rows_are_those_of_the_dense_matrix(name: str) -> None:
    view = VIEWS[name]
    t = dense(view)
    k = min(3, len(t))
    found = dominant_rows(view, k)
    sums = t.abs().sum(1)
    torch.testing.assert_close(found.norms, sums.sort(descending=True).values[:k], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sums[found.positions], found.norms, rtol=1e-9, atol=1e-12)
    # A sign pattern attains its row's norm, and the first one the operator norm.
    moved = view.apply(found.signs).flatten(1)
    torch.testing.assert_close(moved.gather(1, found.positions[:, None])[:, 0], found.norms, rtol=1e-9, atol=1e-12)
    assert float(moved[0].abs().max()) == pytest.approx(float(torch.linalg.matrix_norm(t, torch.inf)))
    assert found.signs.abs().max() <= 1


def test_equal_rows_come_in_order() -> None:
    assert dominant_rows(DenseView(torch.ones(6, 2)), 4).positions.tolist() == [0, 1, 2, 3]


def test_the_budget_of_a_large_layer_and_its_residuals() -> None:
    view = DenseView(normal(150, 160, seed=4))
    short, long = layer_directions(view, 2, budget=8), layer_directions(view, 2)
    assert float(short.residuals[0]) > 1e-3 > 1e-6 >= float(long.residuals.max())
    assert float(short.sigma[0]) < float(long.sigma[0])
    assert torch.equal(long.right, layer_directions(view, 2).right)
    assert not torch.equal(short.right, layer_directions(view, 2, budget=8, seed=1).right)


def test_settings_out_of_range_are_refused() -> None:
    view = VIEWS["dense"]
    for k in (0, 21):
        with pytest.raises(UsageError, match=f"k must be from 1 to 20, the layer's inputs, got {k}: ask for fewer"):
            layer_directions(view, k)
    for k in (0, 13):
        with pytest.raises(UsageError, match=f"k must be from 1 to 12, the layer's outputs, got {k}: ask for fewer"):
            dominant_rows(view, k)
    for tolerance in (0.0, 1.0):
        with pytest.raises(UsageError, match=r"the tolerance must lie in \(0, 1\), got .*: 1e-6 is usual"):
            layer_directions(view, tolerance=tolerance)
    with pytest.raises(UsageError, match="the budget of products must be >= 1, got 0: 256 is usual"):
        layer_directions(view, budget=0)

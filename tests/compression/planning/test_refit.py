"""Fitting a layer again: against least squares worked out by numpy and scipy, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from brittle.compression.planning.paired import Moments
from brittle.compression.planning.refit import RIDGE, fitted, lifted, refit, solve
from brittle.models.layers import LowRankConv2d, LowRankLinear

GENERATOR = torch.Generator().manual_seed(0)
D, H, ROWS = 7, 5, 300
MIX = torch.rand(D, D, generator=GENERATOR, dtype=torch.float64)
U = torch.randn(ROWS, D, generator=GENERATOR, dtype=torch.float64) @ MIX + 0.5
Y = U @ torch.randn(D, H, generator=GENERATOR, dtype=torch.float64) + torch.randn(ROWS, H, generator=GENERATOR)
OLD = torch.randn(H, D, generator=GENERATOR, dtype=torch.float64)


def moments(centred: bool) -> Moments:
    mean_in, mean_out = (U.mean(0), Y.mean(0)) if centred else (torch.zeros(D).double(), torch.zeros(H).double())
    u, y = U - mean_in, Y - mean_out
    return Moments(u.T @ u / ROWS, y.T @ u / ROWS, mean_in, mean_out)


def stacked(ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """The ridge as extra rows of an ordinary least squares problem for W' - W."""
    m = moments(centred=True)
    u, y = (U - m.mean_in).numpy(), (Y - m.mean_out).numpy() - (U - m.mean_in).numpy() @ OLD.T.numpy()
    pull = np.sqrt(ridge * ROWS * float(m.inputs.diagonal().mean()))
    return np.vstack([u, pull * np.eye(D)]), np.vstack([y, np.zeros((D, H))])


@pytest.mark.parametrize("ridge", [1e-6, RIDGE, 1.0, 50.0])
def test_the_solution_is_that_of_stacked_least_squares(ridge: float) -> None:
    change = np.linalg.lstsq(*stacked(ridge), rcond=None)[0].T
    assert np.allclose(solve(OLD, moments(centred=True), ridge).numpy(), OLD.numpy() + change, atol=1e-9)


def test_a_strong_ridge_leaves_the_weights_and_none_forgets_them() -> None:
    m = moments(centred=True)
    assert torch.allclose(solve(OLD, m, 1e9), OLD, atol=1e-6)
    assert torch.allclose(solve(OLD, m, 0.0), solve(-3 * OLD, m, 0.0), atol=1e-6)


def error(layer: nn.Module) -> float:
    with torch.no_grad():
        return float((layer(U) - Y).square().mean())


def dense(bias: bool = True) -> nn.Linear:
    layer = nn.Linear(D, H, bias=bias).double()
    layer.weight.data.copy_(OLD)
    return layer


def test_a_dense_layer_becomes_the_best_affine_map() -> None:
    best = np.linalg.lstsq(np.hstack([U.numpy(), np.ones((ROWS, 1))]), Y.numpy(), rcond=None)[0]
    residual = np.square(np.hstack([U.numpy(), np.ones((ROWS, 1))]) @ best - Y.numpy()).mean()
    assert error(fitted(dense(), moments(centred=True), 0, 0.0)) == pytest.approx(residual, rel=1e-6)


def test_without_a_bias_it_is_the_best_linear_map() -> None:
    best = np.linalg.lstsq(U.numpy(), Y.numpy(), rcond=None)[0]
    residual = np.square(U.numpy() @ best - Y.numpy()).mean()
    layer = fitted(dense(bias=False), moments(centred=False), 0, 0.0)
    assert layer.bias is None
    assert error(layer) == pytest.approx(residual, rel=1e-6)


@pytest.mark.parametrize("rank", [1, 2])
def test_at_low_rank_no_other_map_of_that_rank_is_better(rank: int) -> None:
    """Reduced-rank regression in its usual form: the full solution, projected on principal directions of its fits."""
    centre, answers = (U - U.mean(0)).numpy(), (Y - Y.mean(0)).numpy()
    full = np.linalg.lstsq(centre, answers, rcond=None)[0]
    _, _, directions = np.linalg.svd(centre @ full, full_matrices=False)
    best = centre @ full @ directions[:rank].T @ directions[:rank]
    layer = fitted(dense(), moments(centred=True), rank, 0.0)
    assert isinstance(layer, LowRankLinear)
    assert layer.first.out_features == rank
    assert error(layer) == pytest.approx(np.square(best - answers).mean(), rel=1e-6)


def test_a_rank_that_saves_nothing_leaves_a_dense_layer() -> None:
    for rank in (3, 5, 6):  # 3 (7 + 5) = 36 weights, the dense layer has 35
        assert isinstance(fitted(dense(), moments(centred=True), rank, RIDGE), nn.Linear)


def test_a_pair_keeps_its_rank() -> None:
    pair = LowRankLinear.from_linear(dense(), 2)
    again = fitted(pair, moments(centred=True), 0, 0.0)
    assert isinstance(again, LowRankLinear)
    assert again.first.out_features == 2
    assert error(again) < error(pair)


def test_inputs_that_are_always_zero_leave_the_weights() -> None:
    silent = Moments(torch.zeros(D, D).double(), torch.zeros(H, D).double(), torch.zeros(D).double(), Y.mean(0))
    layer = fitted(dense(), silent, 0, RIDGE)
    assert torch.equal(layer.weight, OLD.to(layer.weight))
    assert torch.allclose(layer.bias, Y.mean(0))
    assert torch.equal(lifted(torch.zeros(2, 2), 0.1), torch.eye(2))


def white(across: Tensor) -> Moments:
    """Inputs about zero with unit covariance, so that the best weights are `across`."""
    h, d = across.shape
    return Moments(torch.eye(d).double(), across.double(), torch.zeros(d).double(), torch.zeros(h).double())


def test_layers_are_fitted_in_order_each_after_those_before() -> None:
    """The second layer's moments are asked for when the first one stands in its place already."""
    child = nn.Sequential(dense(), nn.Linear(H, H).double())
    seen: list[tuple[str, Tensor]] = []

    def source(name: str) -> Moments:
        seen.append((name, child[0].weight.detach().clone()))
        size = child.get_submodule(name).in_features
        return Moments(
            torch.eye(size).double(), torch.zeros(H, size).double(), torch.zeros(size).double(), torch.zeros(H).double()
        )

    assert refit(child, ["0", "1"], {"1": 2}, source, 0.0) is child
    assert [name for name, _ in seen] == ["0", "1"]
    assert torch.equal(seen[0][1], OLD)
    assert torch.allclose(seen[1][1], torch.zeros(H, D).double(), atol=1e-6)
    assert isinstance(child[1], LowRankLinear)


def test_a_convolution_becomes_a_pair_over_its_patches() -> None:
    conv = nn.Conv2d(2, 6, 3).double()
    m = white(torch.randn(6, 18, generator=GENERATOR))
    pair = fitted(conv, m, 2, 0.0)
    assert isinstance(pair, LowRankConv2d)
    u, s, v = np.linalg.svd(m.across.numpy())
    product = (pair.second.weight.flatten(1) @ pair.first.weight.flatten(1)).detach().numpy()
    assert np.allclose(product, (u[:, :2] * s[:2]) @ v[:2], atol=1e-6)

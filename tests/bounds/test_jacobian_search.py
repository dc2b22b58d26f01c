"""The Jacobian search: genuine slopes, never above the truth, near it where the truth is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.bounds.jacobian import logit_jacobians
from brittle.bounds.jacobian_ascent import LEADING, ascend, soft_relu, softened
from brittle.bounds.jacobian_search import search_jacobian_norm
from brittle.errors import UsageError
from brittle.operators.network import read_network
from tests.cases import normal


def _net(seed: int) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    for i, p in enumerate(model.parameters()):
        p.data = normal(*p.shape, seed=seed + i)
    return model


def _norm(jacobian: torch.Tensor, norm: str) -> float:
    return float(torch.linalg.matrix_norm(jacobian, 2 if norm == "l2" else torch.inf))


def _reachable(model: nn.Sequential, norm: str, inside_box: bool) -> float:
    """The largest norm over many random inputs' distinct patterns."""
    x = normal(200_000, 3, seed=9)
    x = x.remainder(1.0) if inside_box else 5 * x
    patterns = torch.unique(model[0](x) > 0, dim=0).double()
    return max(_norm(((model[2].weight * d) @ model[0].weight).detach(), norm) for d in patterns)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("inside_box", [False, True])
@pytest.mark.parametrize("seed", [0, 10])
def test_it_finds_the_steepest_piece_of_a_small_network(seed: int, inside_box: bool, norm: str) -> None:
    model = _net(seed)
    start = normal(64, 3, seed=7).abs().clamp(0, 1)
    found = search_jacobian_norm(model, start, norm, steps=60, seed=0, inside_box=inside_box)
    best = _reachable(model, norm, inside_box)
    assert found.value >= best * (1 - 1e-6)
    if inside_box:
        assert 0 <= float(found.x.min()) <= float(found.x.max()) <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_value_is_a_slope_of_the_network_at_the_point(norm: str) -> None:
    model = _net(3)
    found = search_jacobian_norm(model, normal(4, 3, seed=1), norm, steps=20, seed=0)
    h = 1e-7
    columns = [(model(found.x + h * e) - model(found.x - h * e)) / (2 * h) for e in torch.eye(3, dtype=torch.float64)]
    assert _norm(torch.stack(columns, 1).detach(), norm) == pytest.approx(found.value, rel=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_network_gives_its_norm_from_below(norm: str) -> None:
    model = nn.Linear(4, 3).double()
    truth = _norm(model.weight.detach(), norm)
    found = search_jacobian_norm(model, normal(2, 4, seed=1), norm, steps=0, seed=0)
    assert truth * (1 - 1e-8) <= found.value <= truth


def test_kinks_are_left_aside() -> None:
    """At 0 a network without biases has no derivative; torch's choice there, and at ties, is no slope."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    model[0].weight.data = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    model[2].weight.data = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    found = search_jacobian_norm(model, torch.zeros(1, 1), "linf", steps=0, seed=0)
    assert found.value == pytest.approx(1.0)  # torch's derivative at 0 itself is 0


def test_the_same_seed_gives_the_same_point_and_the_model_stays() -> None:
    model = _net(5).float()
    before = [p.clone() for p in model.parameters()]
    x = normal(4, 3, seed=1)
    first, second = (search_jacobian_norm(model, x, "l2", steps=5, seed=1) for _ in range(2))
    assert first.value == second.value
    assert torch.equal(first.x, second.x)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_norms_and_leading_pairs_of_a_batch_match_torch(norm: str) -> None:
    batch = normal(5, 3, 4, seed=0)
    norms, u, v = LEADING[norm](batch)
    torch.testing.assert_close(norms, torch.linalg.matrix_norm(batch, 2 if norm == "l2" else torch.inf))
    torch.testing.assert_close(torch.einsum("bk,bkn,bn->b", u, batch, v), norms)


def test_soft_relus_are_near_the_real_ones_at_every_scale() -> None:
    y = normal(4, 50, seed=0) * torch.tensor([[1e-6], [1.0], [1e6], [1.0]], dtype=torch.float64)
    distance = (soft_relu(y) - y.clamp_min(0)).abs().amax(1) / y.square().mean(1).sqrt()
    assert float(distance.max()) <= 0.03  # w log 2 at most, w = 0.03 rms
    assert float(distance.min()) > 0


def test_only_networks_with_relus_can_be_softened() -> None:
    relu = read_network(_net(0), (3,)).graph
    tanh = read_network(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), (3,)).graph
    opaque = read_network(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Softmax(1)), (3,)).graph
    assert relu is not None
    assert tanh is not None
    assert opaque is not None
    assert softened(relu) is not None
    assert softened(tanh) is None
    assert softened(opaque) is None


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_ascent_gains_on_its_start_and_reports_real_norms(norm: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 3)).double()
    soft = softened(read_network(model, (10,)).graph)
    assert soft is not None
    x = normal(20, 10, seed=1)
    before = LEADING[norm](logit_jacobians(model, x))[0]
    best, norms = ascend(soft, lambda p: logit_jacobians(model, p), x, LEADING[norm], 30, -2.0, 2.0)
    torch.testing.assert_close(LEADING[norm](logit_jacobians(model, best))[0], norms)
    assert bool((norms >= before).all())
    assert float((norms / before).mean()) > 1.1
    assert float(best.abs().max()) <= max(2.0, float(x.abs().max()))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown norm 'l1': expected one of linf, l2"):
        search_jacobian_norm(_net(0), torch.rand(1, 3), "l1", seed=0)
    with pytest.raises(UsageError, match="expected starting points and steps >= 0, got 0 points"):
        search_jacobian_norm(_net(0), torch.rand(0, 3), "l2", seed=0)

"""Optimisers by name: one and two steps by hand, and who gets which parameter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import UsageError
from brittle.training.optimisers import OPTIMISERS, optimiser_named

RATE, DECAY, MOMENTUM = 0.1, 0.01, 0.8


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3)).double()


def stepped(name: str, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The first weight before and after steps with these gradients for it (and the same number for all others)."""
    model = net()
    optimisers = OPTIMISERS[name](model, RATE, DECAY, MOMENTUM)
    before = model[0].weight.detach().clone()
    for gradient in gradients:
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        model[0].weight.grad = gradient.clone()
        for optimiser in optimisers:
            optimiser.step()
    return before, model[0].weight.detach()


def gradients(count: int) -> list[Tensor]:
    return list(torch.randn(count, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))


def by_hand(w: Tensor, steps: list[Tensor], momentum: float, nesterov: bool) -> Tensor:
    v = torch.zeros_like(w)
    for g in steps:
        g = g + DECAY * w
        v = momentum * v + g
        w = w - RATE * (g + momentum * v if nesterov else v)
    return w


@pytest.mark.parametrize(
    ("name", "momentum", "nesterov"), [("sgd", 0.0, False), ("momentum", MOMENTUM, False), ("nesterov", MOMENTUM, True)]
)
def test_gradient_descent_by_hand(name: str, momentum: float, nesterov: bool) -> None:
    steps = gradients(3)
    before, after = stepped(name, steps)
    torch.testing.assert_close(after, by_hand(before, steps, momentum, nesterov), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_by_hand(decoupled: bool) -> None:
    steps = gradients(3)
    w, after = stepped("adamw" if decoupled else "adam", steps)
    m = v = torch.zeros_like(w)
    for t, g in enumerate(steps, start=1):
        if decoupled:
            w = w * (1 - RATE * DECAY)
        else:
            g = g + DECAY * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - RATE * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    torch.testing.assert_close(after, w, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_parameter_is_held_once(name: str) -> None:
    for model in (net(), nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))):
        held = [p for o in OPTIMISERS[name](model, RATE, DECAY, MOMENTUM) for g in o.param_groups for p in g["params"]]
        assert sorted(map(id, held)) == sorted(map(id, model.parameters()))


@pytest.mark.skipif("muon" not in OPTIMISERS, reason="this torch has no Muon")
def test_muon_takes_hidden_linear_weights_only() -> None:
    model = net()
    hidden, rest = OPTIMISERS["muon"](model, RATE, DECAY, MOMENTUM)
    assert [id(p) for p in hidden.param_groups[0]["params"]] == [id(model[0].weight), id(model[2].weight)]
    assert isinstance(rest, torch.optim.AdamW)
    before, after = stepped("muon", gradients(1))
    sigma = torch.linalg.svdvals((after - before * (1 - RATE * DECAY)).double())
    assert float(sigma[0] / sigma[-1]) < 2.5, "an orthogonalised step has nearly equal singular values"
    assert float(torch.linalg.svdvals(gradients(1)[0])[0] / torch.linalg.svdvals(gradients(1)[0])[-1]) > 2.5


def test_nesterov_without_momentum_is_gradient_descent() -> None:
    assert torch.equal(
        _after(OPTIMISERS["nesterov"](model := net(), RATE, DECAY, 0.0), model),
        _after(OPTIMISERS["sgd"](model := net(), RATE, DECAY, 0.0), model),
    )


def _after(optimisers: tuple[torch.optim.Optimizer, ...], model: nn.Sequential) -> Tensor:
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    for optimiser in optimisers:
        optimiser.step()
    return model[0].weight.detach()


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown optimiser 'lion': expected one of sgd, momentum"):
        optimiser_named("lion")
    assert optimiser_named("sgd") is OPTIMISERS["sgd"]

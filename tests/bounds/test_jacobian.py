"""Jacobians against closed forms and finite differences, and their norms as lower bounds of the constant."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from brittle.bounds.jacobian import largest_jacobian_norms, logit_jacobians
from tests.cases import normal
from tests.operators.nets import Step


def test_a_linear_models_jacobian_is_its_weight() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    w = model[1].weight.detach()
    found = logit_jacobians(model, normal(4, 1, 2, 3, seed=1))
    assert tuple(found.shape) == (4, 3, 6)
    torch.testing.assert_close(found, w.expand(4, 3, 6))
    norms = largest_jacobian_norms(model, normal(4, 1, 2, 3, seed=1), 2)
    assert norms["linf"] == pytest.approx(float(w.abs().sum(1).max()), rel=1e-8)
    assert norms["l2"] == pytest.approx(float(torch.linalg.matrix_norm(w, 2)), rel=1e-8)
    assert norms["linf"] < float(w.abs().sum(1).max())
    assert norms["l2"] < float(torch.linalg.matrix_norm(w, 2))


def test_jacobians_match_finite_differences() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).double()
    x, h = normal(2, 1, 3, 3, seed=2), 1e-6
    found = logit_jacobians(model, x)
    for i in range(9):
        step = torch.zeros(9, dtype=torch.float64)
        step[i] = h
        slope = (model(x + step.view(1, 3, 3)) - model(x - step.view(1, 3, 3))) / (2 * h)
        torch.testing.assert_close(found[:, :, i], slope.detach(), rtol=1e-6, atol=1e-8)


def test_the_largest_over_inputs_counts_whatever_the_batch_size() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    x = normal(7, 4, seed=1)
    one, all_at_once = largest_jacobian_norms(model, x, 1), largest_jacobian_norms(model, x, 100)
    assert one == pytest.approx(all_at_once, rel=1e-12)
    rows = logit_jacobians(model, x).abs().sum(2).max()
    assert all_at_once["linf"] == pytest.approx(float(rows), rel=1e-4)  # the inputs are moved by 10^-6
    assert largest_jacobian_norms(model, x, 3, seed=5) != largest_jacobian_norms(model, x, 3, seed=6)


def test_a_kink_at_black_pixels_is_not_taken_for_a_slope() -> None:
    # x - relu(x) + relu(-x) is 0 everywhere, but autograd's relu'(0) = 0 gives slope 1 at 0.
    flat = nn.Sequential(Step(lambda x: x - torch.relu(x) + torch.relu(-x)), nn.Linear(4, 2, bias=False))
    x = torch.zeros(3, 4)
    assert float(logit_jacobians(flat, x).abs().max()) > 0.1
    assert largest_jacobian_norms(flat, x, 8) == {"linf": 0.0, "l2": 0.0}


def test_the_model_and_its_mode_stay_and_dropout_is_off() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    w = (model[2].weight @ model[0].weight).detach().double()
    x = torch.rand(5, 4)
    assert largest_jacobian_norms(model, x, 2)["linf"] == pytest.approx(float(w.abs().sum(1).max()), rel=1e-6)
    assert model.training
    assert model[0].weight.dtype == torch.float32
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_logits_that_ignore_the_pixels_have_slope_zero() -> None:
    class Constant(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return self.bias.detach().expand(len(x), -1) * 1.0

    assert largest_jacobian_norms(Constant(4, 3), torch.rand(2, 4), 2) == {"linf": 0.0, "l2": 0.0}

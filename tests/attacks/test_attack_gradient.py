from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.attacks.gradient import direction, evaluate, input_gradient
from brittle.attacks.losses import cross_entropy, margin
from brittle.errors import ModelError


def linear():
    torch.manual_seed(0)
    return nn.Linear(6, 3).double()


def test_gradient_of_a_linear_classifier_is_the_closed_form():
    model, x, y = linear(), torch.rand(5, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    logits, values, gradient = input_gradient(model, x, y, cross_entropy)
    onehot = torch.eye(3, dtype=torch.float64)[y]
    weight = model.weight.detach()
    assert torch.allclose(gradient, (logits.softmax(1) - onehot) @ weight, atol=1e-12)
    assert torch.allclose(logits, x @ weight.T + model.bias.detach())
    assert torch.equal(evaluate(model, x, y, cross_entropy)[1], values)


def test_works_under_no_grad_and_leaves_no_gradients_behind():
    model, x = linear(), torch.rand(2, 6, dtype=torch.float64)
    with torch.no_grad():
        _, values, gradient = input_gradient(model, x, torch.tensor([0, 1]), margin)
    assert gradient.abs().sum() > 0
    assert not values.requires_grad
    assert not x.requires_grad
    assert model.weight.grad is None


def test_a_model_without_gradients_is_refused():
    class Rounded(nn.Module):
        def forward(self, x):
            return x.detach().round()

    with pytest.raises(ModelError, match="got logits without a graph"):
        input_gradient(Rounded(), torch.rand(2, 3), torch.tensor([0, 1]), margin)


def test_undefined_gradients_count_as_zero():
    class Root(nn.Module):
        def forward(self, x):
            return (x - x).sqrt() * 0.0 + x

    _, _, gradient = input_gradient(Root(), torch.rand(1, 3), torch.tensor([0]), margin)
    assert torch.isfinite(gradient).all()


def test_direction_keeps_gradients_whose_squares_underflow():
    gradient = torch.tensor([[3e-30, -4e-30], [0.0, 0.0]])
    assert torch.allclose(direction(gradient), torch.tensor([[0.75, -1.0], [0.0, 0.0]]))

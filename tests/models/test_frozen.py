from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.models.frozen import frozen


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.Dropout(0.5), nn.Linear(5, 3)))
    model.train()
    model[1].eval()  # a frozen batch norm inside a model in train mode
    model[0].bias.requires_grad_(False)
    return model


def state(model):
    return (
        {name: module.training for name, module in model.named_modules()},
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
    )


def test_inside_everything_is_in_evaluation_mode_and_out_of_the_graph():
    with frozen(network()) as model:
        modes, flags = state(model)
        assert not any(modes.values())
        assert not any(flags.values())


def test_each_module_and_parameter_gets_its_own_state_back():
    model = network()
    before = state(model)
    with frozen(model):
        pass
    assert state(model) == before


def test_state_comes_back_after_an_exception():
    model = network()
    before = state(model)
    with pytest.raises(ZeroDivisionError), frozen(model):
        raise ZeroDivisionError
    assert state(model) == before


def test_nested_use_gives_the_outer_state_back():
    model = network()
    before = state(model)
    with frozen(model):
        with frozen(model):
            pass
        assert not any(state(model)[0].values())
    assert state(model) == before


def test_shared_parameter_is_restored():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    with frozen(model):
        assert not model[1].weight.requires_grad
    assert model[0].weight.requires_grad


def test_hooks_gradients_and_buffers_are_untouched():
    model = network()
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    hooks = dict(model[0]._forward_hooks)
    model[2][1].weight.grad = torch.ones_like(model[2][1].weight)
    mean = model[1].running_mean.clone()
    with frozen(model):
        model(torch.rand(6, 4))
    assert calls == [1]
    assert dict(model[0]._forward_hooks) == hooks
    assert torch.equal(model[2][1].weight.grad, torch.ones(3, 5))
    assert torch.equal(model[1].running_mean, mean)


def test_an_overridden_train_method_is_not_called():
    class Merging(nn.Linear):
        def train(self, mode=True):
            raise AssertionError("train() may merge weights")

    model = Merging(2, 2)
    with frozen(model):
        assert model.training is False
    assert model.training is True

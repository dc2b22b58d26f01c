"""Chains of dense layers whose parameters carry a leading M: one batched product for each layer of all members."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brittle.models.activations import ACTIVATIONS
from brittle.models.layers import LowRankLinear

# (module with stacked parameters, (M, b, ...)) -> (M, b, ...)
Grouped = Callable[[nn.Module, Tensor], Tensor]


def _linear(module: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(module, nn.Linear)
    weight = module.weight.transpose(1, 2)
    return torch.bmm(x, weight) if module.bias is None else torch.baddbmm(module.bias.unsqueeze(1), x, weight)


def _low_rank(module: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(module, LowRankLinear)
    return _linear(module.second, _linear(module.first, x))


def _flatten(module: nn.Module, x: Tensor) -> Tensor:
    return x.flatten(2)


def _chain(module: nn.Module, x: Tensor) -> Tensor:
    for part in module.children():
        x = GROUPED[type(part)](part, x)
    return x


def _elementwise(module: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = module(x)
    return y


# By exact class: a subclass may do anything.
GROUPED: dict[type[nn.Module], Grouped] = {
    nn.Linear: _linear,
    LowRankLinear: _low_rank,
    nn.Flatten: _flatten,
    nn.Sequential: _chain,
    **{type(make()): _elementwise for make in ACTIVATIONS.values()},
}


def is_chain(net: nn.Module) -> bool:
    """Whether `grouped` knows every layer of a member; layers with hooks are not known."""
    if any(module._forward_hooks or module._forward_pre_hooks for module in net.modules()):
        return False
    flat = not isinstance(net, nn.Flatten) or (net.start_dim, net.end_dim) == (1, -1)
    return flat and type(net) in GROUPED and (type(net) is not nn.Sequential or all(map(is_chain, net.children())))


def grouped(net: nn.Module, x: Tensor) -> Tensor:
    """Logits (M, b, classes) of a chain with stacked parameters at x (M, b, *shape)."""
    return GROUPED[type(net)](net, x)

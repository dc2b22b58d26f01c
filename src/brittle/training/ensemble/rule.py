"""How many nets to train at once: as many as pays, by a rule. A trial run would give other weights on another day."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from brittle.models.frozen import frozen
from brittle.training.ensemble.stack import trainable_numbers

# On a CPU stacking saves what a step costs beside its arithmetic. Of nets with more numbers than this it is too little
# to pay for the caches that a stack overflows; and a stack of more than that gains nothing over a smaller one.
_NET, _STACK = 2**18, 2**21
# On a GPU memory alone is the limit: about 20 bytes for each number of weights, their best, gradients and moments.
_GPU_STACK = 2**28


def numbers_in_a_step(model: nn.Module, x: Tensor, batch_size: int) -> int:
    """Trainable numbers of a model and outputs of its layers for a batch: what a step reads and writes.

    Args:
        model: left as it was.
        x: one sample (1, *shape).
        batch_size: samples of a step.
    """
    outputs = 0

    def count(module: nn.Module, given: Any, output: Any) -> None:
        nonlocal outputs
        outputs += output.numel() if isinstance(output, Tensor) else 0

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    try:
        with torch.random.fork_rng(devices=[]), frozen(model), torch.no_grad():
            model(x.to(next(model.parameters())))
    finally:
        for hook in hooks:
            hook.remove()
    return trainable_numbers(model) + batch_size * outputs


def at_once_by_rule(model: nn.Module, x: Tensor, batch_size: int) -> int:
    """How many nets like this one to train at once, at least 1.

    Measured with `python -m benchmarks.ensembles`. Arguments as in `numbers_in_a_step`.
    """
    numbers = numbers_in_a_step(model, x, batch_size)
    if next(model.parameters()).device.type != "cpu":
        return max(1, _GPU_STACK // numbers)
    return _STACK // numbers if numbers <= _NET else 1

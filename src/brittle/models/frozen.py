"""A model held still: evaluation mode, parameters out of the graph, everything put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Hold `model` in evaluation mode with `requires_grad` False on every parameter; undo both on the way out.

    Each submodule gets its own mode back and each parameter its own flag, after an exception too. Hooks, buffers and
    `.grad` are not touched. The flags are set directly, without `model.eval()`: an overridden `train()` may change
    weights (merged adapters do), and some exported modules refuse it.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for module, _ in modes:
            module.training = False
        for parameter, required in flags:
            if required:
                parameter.requires_grad_(False)
        yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, required in flags:
            if required:
                parameter.requires_grad_(True)

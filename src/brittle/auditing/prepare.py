"""The model to be measured: a frozen copy on the right device and in the right number format."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.operators.network import Network
from brittle.operators.view import size

# Up to this many multiply-adds for one input the network is evaluated in float64.
_FLOAT64_WORK = 5e6


def choose_dtype(network: Network, asked: torch.dtype | None) -> torch.dtype:
    """float64 for small networks: there an attack's path does not hang on rounding, so neither on the batch size."""
    if asked is not None:
        return asked
    if network.graph is None:
        return torch.float32
    work = sum(size(layer.view.out_shape) * layer.view.terms for layer in network.layers)
    return torch.float64 if work <= _FLOAT64_WORK else torch.float32


def twin(model: nn.Module, x: Tensor, dtype: torch.dtype, device: str) -> nn.Module:
    """A copy of `model` in eval mode with frozen parameters; the original is never touched.

    Raises:
        ModelError: the copy does not run on inputs like `x` (1, *shape).
    """
    other = copy.deepcopy(model).to(device=torch.device(device), dtype=dtype).eval().requires_grad_(False)
    try:
        with torch.no_grad():
            other(x[:1].to(device=device, dtype=dtype))
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the model does not accept inputs of shape {tuple(x.shape[1:])} ({first}): check that model and data belong together"
        ) from None
    return other

"""The activations that an architecture can name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from brittle.errors import ModelError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """A new activation module.

    Raises:
        ModelError: the name is not in `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ModelError(f"unknown activation {name!r}: expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()

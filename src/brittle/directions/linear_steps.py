"""Convolutions and batch norms whose derivatives can be differentiated again at the price of one forward step.

Framework convolutions compute a gradient for the weights whenever their backward pass is differentiated, wanted or not,
which triples the price of `J v`. Inside `cheap_second_pass()` they are replaced by equal maps without that waste.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

# stride, padding, dilation, groups
Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


class _Convolution(Function):
    """x -> conv(x, weight) + bias, linear in x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.geometry, ctx.shape = geometry, x.shape
        ctx.save_for_backward(weight)
        stride, padding, dilation, groups = geometry
        return torch.convolution(x, weight, bias, stride, padding, dilation, False, (0,) * len(stride), groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _Adjoint.apply(grads[0], weight, ctx.shape, ctx.geometry), None, None, None


class _Adjoint(Function):
    """The adjoint of a convolution, whose own backward pass is the convolution."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(weight)
        stride, padding, dilation, groups = geometry
        x = y.new_empty(shape)  # only its shape is read
        no_shift = (0,) * len(stride)
        wanted = (True, False, False)
        gradients = torch.ops.aten.convolution_backward(
            y, x, weight, None, stride, padding, dilation, False, no_shift, groups, wanted
        )
        return gradients[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return _Convolution.apply(grads[0], weight, None, ctx.geometry), None, None, None


class cheap_second_pass(TorchFunctionMode):  # noqa: N801 (used as a context manager)
    """Replace convolutions and batch norms that use running statistics; every other operation stays as it is.

    Parameters must not require gradients: none would reach them.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Use the replacement where there is one and it covers the arguments."""
        kwargs = kwargs or {}
        replacement = _REPLACED.get(func)
        result = None if replacement is None else replacement(*args, **kwargs)
        return func(*args, **kwargs) if result is None else result


def _convolution(axes: int) -> Callable[..., Tensor | None]:
    def replaced(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Iterable[int] = 1,
        padding: str | int | Iterable[int] = 0,
        dilation: int | Iterable[int] = 1,
        groups: int = 1,
    ) -> Tensor | None:
        # Without a batch dimension, with padding by name, or with weights in the graph: leave it to the framework.
        if input.dim() != axes + 2 or isinstance(padding, str) or weight.requires_grad:
            return None
        geometry = (_each(stride, axes), _each(padding, axes), _each(dilation, axes), groups)
        return _Convolution.apply(input, weight, bias, geometry)

    return replaced


def _each(value: int | Iterable[int], axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if training or running_mean is None or running_var is None:
        return None
    gain = (running_var + eps).rsqrt() * (1.0 if weight is None else weight)
    shift = (0.0 if bias is None else bias) - running_mean * gain
    shape = (-1, *(1,) * (input.dim() - 2))
    return input * gain.view(shape) + shift.view(shape)


# Keyed by the functions that layers call.
_REPLACED: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    torch.conv1d: _convolution(1),
    torch.conv2d: _convolution(2),
    torch.conv3d: _convolution(3),
    F.batch_norm: _batch_norm,
}

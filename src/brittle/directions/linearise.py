"""A network linearised at samples: products with J and with its transpose, J never formed.

Legend: b samples of a batch, d pixels, D outputs per sample; J is (D, d) for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from brittle.directions.linear_steps import cheap_second_pass
from brittle.errors import ModelError

# A map from pixels (b, *shape) to outputs (b, D) in which samples do not affect each other.
Map = Callable[[Tensor], Tensor]
# Largest accepted difference of `u.(J v)` and `v.(J^t u)`, relative to `||J v||` and `||J^t u||`, for random u and v of
# unit variance; float32 through deep networks stays far below.
_ADJOINT = 1e-3


class Linearised(Protocol):
    """The Jacobians of one batch of samples."""

    outputs: Tensor

    def jvp(self, v: Tensor) -> Tensor:
        """J v for each sample: one direction v (*shape) -> (b, D)."""

    def vjp(self, u: Tensor) -> Tensor:
        """J^t u for each sample: (b, D) -> (b, *shape)."""


Lineariser = Callable[[Map, Tensor], Linearised]


class DoubleBackward:
    """J^t u by a backward pass; J v by differentiating `J^t u`, which is linear in u, in the direction v.

    One forward and one recorded backward pass serve all products with a batch.
    """

    def __init__(self, function: Map, x: Tensor) -> None:
        self._x = x.detach().clone().requires_grad_()
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), cheap_second_pass():
            self._z = function(self._x)
            self.outputs = _checked(self._z)
            self._u = torch.zeros_like(self.outputs, requires_grad=True)
            (self._pulled,) = torch.autograd.grad(self._z, self._x, self._u, create_graph=True, materialize_grads=True)

    def jvp(self, v: Tensor) -> Tensor:
        """J v, (*shape) -> (b, D)."""
        if not self._pulled.requires_grad:  # no path from the pixels to the outputs
            return torch.zeros_like(self.outputs)
        tangent = v.expand_as(self._x)
        return torch.autograd.grad(self._pulled, self._u, tangent, retain_graph=True, materialize_grads=True)[0]

    def vjp(self, u: Tensor) -> Tensor:
        """J^t u, (b, D) -> (b, *shape)."""
        return torch.autograd.grad(self._z, self._x, u, retain_graph=True, materialize_grads=True)[0]


class ForwardMode:
    """J v by dual numbers, for steps whose backward pass cannot be differentiated; each product is a forward pass."""

    def __init__(self, function: Map, x: Tensor) -> None:
        self._function = function
        self._x = x.detach().clone().requires_grad_()
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            self._z = function(self._x)
        self.outputs = _checked(self._z)

    def jvp(self, v: Tensor) -> Tensor:
        """J v, (*shape) -> (b, D)."""
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
            dual = forward_ad.make_dual(self._x.detach(), v.expand_as(self._x).contiguous())
            tangent = forward_ad.unpack_dual(self._function(dual)).tangent
            return torch.zeros_like(self.outputs) if tangent is None else tangent.clone()

    def vjp(self, u: Tensor) -> Tensor:
        """J^t u, (b, D) -> (b, *shape)."""
        return torch.autograd.grad(self._z, self._x, u, retain_graph=True, materialize_grads=True)[0]


# The cheaper one first.
LINEARISERS: tuple[Lineariser, ...] = (DoubleBackward, ForwardMode)


def lineariser_for(function: Map, x: Tensor, seed: int = 0) -> Lineariser:
    """The first of `LINEARISERS` whose J and J^t are transposes of each other at the samples x (b, *shape).

    Raises:
        ModelError: outputs that are not finite or have no derivative, or no way to differentiate them both ways.
    """
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(x.shape[1:], dtype=x.dtype, generator=generator).to(x.device)
    reason = "J v and J^t u contradict each other"
    for lineariser in LINEARISERS:
        try:
            linear = lineariser(function, x)
            u = torch.randn(linear.outputs.shape, dtype=x.dtype, generator=generator).to(x.device)
            forward, back = linear.jvp(v).double(), linear.vjp(u).double()
        except RuntimeError as error:  # frameworks signal a missing derivative in several ways, all of this class
            reason = str(error).splitlines()[0]
            continue
        scale = float(torch.maximum(forward.norm(), back.norm()))
        if not math.isfinite(scale):
            raise nonfinite_derivatives()
        if abs(float((u * forward).sum() - (v * back).sum())) <= _ADJOINT * scale:
            return lineariser
    raise ModelError(
        f"expected a model that can be differentiated forward or twice backward, got: {reason}; use the margin map, "
        "which needs one backward pass, or replace the step"
    )


def nonfinite_derivatives() -> ModelError:
    """The error for Jacobians with NaN or infinity."""
    return ModelError(
        "expected finite derivatives, got NaN or infinity: look for square roots, norms or divisions at zero"
    )


def _checked(z: Tensor) -> Tensor:
    """The outputs without their graph, if a finite graph is there."""
    if not z.requires_grad:
        raise ModelError(
            "expected outputs that depend on the pixels by differentiable operations, got outputs without a graph "
            "(quantised, detached or exported model): take the differentiable model it was made from"
        )
    if not bool(torch.isfinite(z).all()):
        raise ModelError("expected finite outputs, got NaN or infinity: check the weights and the number format")
    return z.detach()

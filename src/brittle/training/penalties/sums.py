"""Penalties of a network: the sum of what each layer's matrix costs. Legend: M members, h neurons, d fan-in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.objective import Stateless


def total(cost: Callable[[Tensor], Tensor], weights: Sequence[Tensor]) -> Tensor:
    """`sum over layers of cost(W)`, (h, d) matrices -> a scalar or (M, h, d) -> (M,).

    Raises:
        UsageError: no matrices, or matrices of another shape.
    """
    check_matrices(weights)
    return torch.stack([cost(weight) for weight in weights]).sum(0)


def check_matrices(weights: Sequence[Tensor]) -> None:
    """One or more non-empty (h, d), or all (M, h, d) with one M.

    Raises:
        UsageError: they are not.
    """
    shapes = [tuple(weight.shape) for weight in weights]
    bad = any(len(shape) not in (2, 3) or 0 in shape for shape in shapes)
    if bad or len({shape[:-2] for shape in shapes}) != 1:
        raise UsageError(
            f"a penalty needs matrices (h, d), or (M, h, d) with one M, got {shapes or 'none'}: "
            "choose layers with weights"
        )


class Direct(Stateless):
    """A term that is the penalty itself, differentiated by autograd."""

    def __init__(self, value: Callable[[Sequence[Tensor]], Tensor]) -> None:
        self._value = value

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """Scalar or (M,)."""
        return self._value(weights)


def frobenius(weight: Tensor) -> Tensor:
    """`||W||_F`, (..., h, d) -> (...), but at least 1e-19 in float32: a divisor that makes 0 / ||0|| = 0."""
    # The smallest number itself would make the slope infinite before it is multiplied by 0.
    return torch.linalg.vector_norm(weight, dim=(-2, -1)).clamp_min(torch.finfo(weight.dtype).tiny ** 0.5)


def row_norms(weight: Tensor) -> Tensor:
    """`||w_i||_2`, (..., h, d) -> (..., h); the gradient of a zero row is 0."""
    return torch.linalg.vector_norm(weight, dim=-1)

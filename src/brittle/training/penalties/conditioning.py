"""Singular values that are alike: near one, or near each other.

Both need the Gram matrix of the short side only: of the (h, h) and the (d, d) one the smaller, r = min(h, d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from brittle.training.penalties.spectrum import gram
from brittle.training.penalties.sums import Direct, total
from brittle.training.protocols import Term


@dataclass(frozen=True)
class Orthonormality:
    """`||G - I||_F^2 = sum_i (sigma_i^2 - 1)^2`, G the smaller Gram matrix (Brock et al. 2017).

    In training a low-rank layer counts with its core (`cores.core_of`): with the values that need not be zero.
    """

    of_core: ClassVar[bool] = True
    name: str = field(default="orthonormality", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(lambda w: _from_identity(gram(w), 1.0).square().sum((-2, -1)), weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)


@dataclass(frozen=True)
class Condition:
    """`||G - (||W||_F^2 / r) I||_F = sqrt(sum_i (sigma_i^2 - mean sigma^2)^2)`: 0 when all singular values are equal.

    Source: RobustDLRT, Schotthoefer et al. 2025, there for the core S (r, r) of a low-rank layer `U S V^T`. So it is
    here: in training a low-rank layer counts with its core (`cores.core_of`), whose values are the r that can be other
    than zero. On the whole product the zeros beyond the rank would lower the mean that all values are drawn to.
    """

    of_core: ClassVar[bool] = True
    name: str = field(default="condition", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_uneven, weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)


def _uneven(weight: Tensor) -> Tensor:
    g = gram(weight)
    mean = g.diagonal(dim1=-2, dim2=-1).mean(-1)
    return torch.linalg.vector_norm(_from_identity(g, mean), dim=(-2, -1))


def _from_identity(g: Tensor, scale: Tensor | float) -> Tensor:
    """`G - scale I`."""
    shift = torch.as_tensor(scale, dtype=g.dtype, device=g.device)[..., None]
    return g - torch.diag_embed(shift.expand(g.shape[:-1]))

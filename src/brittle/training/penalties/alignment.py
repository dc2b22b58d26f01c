"""Interlayer alignment: how much of two neighbours' spectral norms survives their product.

    a(A, B) = ||A B||_2 / (||A||_2 ||B||_2)   in [0, 1],   A the outer, B the inner layer

1 when B's leading left singular vector is A's leading right one. This is the alignment A_2 of Theorem 3.2 (Barsbey et
al., ICLR 2026) with every unit open (D = I), so a lower bound of it: a penalty, no certificate.
Legend: B (h, d); A (m, h t), t columns for each unit of B: the taps of a kernel, or the pixels of a flattened map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.penalties.spectrum import singular
from brittle.training.penalties.sums import Direct, check_matrices
from brittle.training.protocols import Term


@dataclass(frozen=True)
class Alignment:
    """`sum of a(W^{l+1}, W^l)` over neighbours in the model's order; pairs whose shapes do not fit are left out.

    Where A has t columns for each unit of B they count as rows, (m t, h). 0 for a pair with a zero layer.

    Raises:
        UsageError: when called, where no two neighbours fit.
    """

    name: str = field(default="alignment", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        check_matrices(weights)
        pairs = [(outer, inner) for inner, outer in pairwise(weights) if outer.shape[-1] % inner.shape[-2] == 0]
        if not pairs:
            shapes = [tuple(weight.shape) for weight in weights]
            raise UsageError(
                f"alignment needs two neighbours, (m, h t) after (h, d), got {shapes}: choose adjacent layers"
            )
        return torch.stack([_aligned(_by_unit(outer, inner), inner) for outer, inner in pairs]).sum(0)

    def start(self) -> Term:
        """The penalty itself: eigenvalues of Gram matrices in float64 in every step."""
        return Direct(self.value)


def _by_unit(outer: Tensor, inner: Tensor) -> Tensor:
    """(m, h t) -> (m t, h)."""
    units = inner.shape[-2]
    return outer.unflatten(-1, (units, -1)).movedim(-1, -2).flatten(-3, -2)


def _aligned(outer: Tensor, inner: Tensor) -> Tensor:
    product = outer.double() @ inner.double()
    apart = singular(outer).amax(-1) * singular(inner).amax(-1)
    return (singular(product).amax(-1) / apart.where(apart > 0, 1)).to(inner.dtype)

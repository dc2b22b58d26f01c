"""Few large weights, as the PQ index counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.penalties.sums import Direct, total
from brittle.training.protocols import Term


@dataclass(frozen=True)
class PQ:
    """`1 - I_pq = n^(1/q - 1/p) ||w||_p / ||w||_q` of a layer's n weights: 1 when all are equal, near 0 when one rules.

    Source: Diao et al., ICLR 2023; its p = 1, q = 2 are the defaults, with which this is `l1_si / sqrt(n)`: every layer
    counts the same, whatever its size. 0 for a zero layer.

    Raises:
        UsageError: not 1 <= p < q; below 1 a zero weight has no gradient.
    """

    p: float = 1.0
    q: float = 2.0
    name: str = field(default="pq", init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.p < self.q < float("inf"):
            raise UsageError(f"the PQ penalty needs 1 <= p < q, got p = {self.p!r} and q = {self.q!r}")

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(self._dense, weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)

    def _dense(self, weight: Tensor) -> Tensor:
        n = weight.shape[-2] * weight.shape[-1]
        above, below = (torch.linalg.vector_norm(weight, order, dim=(-2, -1)) for order in (self.p, self.q))
        ratio = above / below.clamp_min(torch.finfo(weight.dtype).tiny ** 0.5)
        return n ** (1 / self.q - 1 / self.p) * ratio

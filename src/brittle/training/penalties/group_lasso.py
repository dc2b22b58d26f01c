"""Few active neurons or filters: the sum of the rows' l_2 norms, and the same over the Frobenius norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from brittle.training.penalties.sums import Direct, frobenius, row_norms, total
from brittle.training.protocols import Term


@dataclass(frozen=True)
class GroupLasso:
    """`sum_i ||w_i||_2` over rows (Yuan & Lin 2006; all groups of a layer have one size, so no weights)."""

    name: str = field(default="group_lasso", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(lambda w: row_norms(w).sum(-1), weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)

    def prox(self, weight: Tensor, step: float) -> Tensor:
        """The block soft threshold `w_i max(1 - step / ||w_i||_2, 0)`, (h, d) -> (h, d)."""
        norms = row_norms(weight)[..., None]
        return weight * (norms - step).clamp_min(0) / norms.where(norms > 0, 1)


@dataclass(frozen=True)
class GroupLassoScaleInvariant:
    """`sum_i ||w_i||_2 / ||W||_F`, from 1 (one active row) to sqrt(h) (equal rows); 0 for a zero layer.

    Source: Barsbey et al., ICLR 2026: compressibility without a change of scale.
    """

    name: str = field(default="group_lasso_si", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(lambda w: row_norms(w).sum(-1) / frobenius(w), weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)

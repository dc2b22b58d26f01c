"""Sparse weights: the sum of magnitudes, and the same over the Frobenius norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from brittle.training.penalties.sums import Direct, frobenius, total
from brittle.training.protocols import Term


@dataclass(frozen=True)
class L1:
    """`sum_ij |W_ij|` (Tibshirani 1996)."""

    name: str = field(default="l1", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_l1, weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)

    def prox(self, weight: Tensor, step: float) -> Tensor:
        """The soft threshold `sign(W) max(|W| - step, 0)`, (h, d) -> (h, d)."""
        return weight.sign() * (weight.abs() - step).clamp_min(0)


@dataclass(frozen=True)
class L1ScaleInvariant:
    """`sum_ij |W_ij| / ||W||_F`, from 1 (one weight) to sqrt(h d) (equal magnitudes); 0 for a zero layer."""

    name: str = field(default="l1_si", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(lambda w: _l1(w) / frobenius(w), weights)

    def start(self) -> Term:
        """The penalty itself."""
        return Direct(self.value)


def _l1(weight: Tensor) -> Tensor:
    return weight.abs().sum((-2, -1))

"""Low rank: the nuclear norm, the sum of singular values, and the same over the Frobenius norm.

Its gradient is the polar factor `U V^T`; see `polar` for how it is found cheaply. The "fast" forms keep a rough factor
for some steps: their gradient is late and off by some per cent; `benchmarks/penalties.py` measures what that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.penalties.polar import polar_factor, rough_polar_factor
from brittle.training.penalties.spectrum import singular
from brittle.training.penalties.sums import check_matrices, frobenius, total
from brittle.training.penalties.threshold import randomised_threshold, threshold
from brittle.training.protocols import Term

# Optimiser steps for which a fast form keeps a polar factor.
_KEPT = 8


@dataclass(frozen=True)
class Nuclear:
    """`sum_i sigma_i(W)` (Fazel, Hindi & Boyd 2001: the convex envelope of the rank on the spectral ball)."""

    name: str = field(default="nuclear", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_nuclear, weights)

    def start(self) -> Term:
        """The exact gradient in every step."""
        return PolarTerm(polar_factor, 1, _as_it_is)

    def prox(self, weight: Tensor, step: float) -> Tensor:
        """Singular-value thresholding, exact: (h, d) -> (h, d)."""
        return threshold(weight, step)


@dataclass(frozen=True)
class FastNuclear:
    """`sum_i sigma_i(W)`, with a polar factor kept for `refresh` steps and a randomised proximal step.

    `rank` and `seed` are of the first sketch of the proximal step, which is drawn anew in each step from the same seed.
    """

    refresh: int = _KEPT
    rank: int = 32
    seed: int = 0
    name: str = field(default="nuclear_fast", init=False)

    def __post_init__(self) -> None:
        _check_refresh(self.refresh)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_nuclear, weights)

    def start(self) -> Term:
        """A gradient up to `refresh - 1` steps old."""
        return PolarTerm(rough_polar_factor, self.refresh, _as_it_is)

    def prox(self, weight: Tensor, step: float) -> Tensor:
        """Singular-value thresholding by a randomised decomposition: (h, d) -> (h, d)."""
        generator = torch.Generator().manual_seed(self.seed)
        return randomised_threshold(weight, step, rank=self.rank, generator=generator)


@dataclass(frozen=True)
class NuclearScaleInvariant:
    """`sum_i sigma_i / ||W||_F`, from 1 (rank one) to sqrt(min(h, d)) (equal values); 0 for a zero layer.

    Source: Barsbey et al., ICLR 2026: compressibility without a change of scale.
    """

    name: str = field(default="nuclear_si", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_scale_invariant, weights)

    def start(self) -> Term:
        """The exact gradient in every step."""
        return PolarTerm(polar_factor, 1, _over_frobenius)


@dataclass(frozen=True)
class FastNuclearScaleInvariant:
    """`sum_i sigma_i / ||W||_F`, with a polar factor kept for `refresh` steps; the norm below is always fresh."""

    refresh: int = _KEPT
    name: str = field(default="nuclear_si_fast", init=False)

    def __post_init__(self) -> None:
        _check_refresh(self.refresh)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_scale_invariant, weights)

    def start(self) -> Term:
        """A gradient up to `refresh - 1` steps old."""
        return PolarTerm(rough_polar_factor, self.refresh, _over_frobenius)


class PolarTerm:
    """`sum over layers of finish(<Q, W>, W)`, Q the polar factor of W as it was at the last refresh.

    Args:
        factor: W (..., h, d) -> Q (..., h, d).
        refresh: steps for which Q is kept.
        finish: differentiable, nuclear norms (...) and W (..., h, d) -> (...).
    """

    def __init__(
        self, factor: Callable[[Tensor], Tensor], refresh: int, finish: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self._factor = factor
        self._refresh = refresh
        self._finish = finish
        self._left = 0
        self._kept: list[Tensor] = []

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """Scalar or (M,)."""
        check_matrices(weights)
        if self._left == 0:
            self._kept = [self._factor(weight) for weight in weights]
            self._left = self._refresh
        self._left -= 1
        parts = []
        for i, weight in enumerate(weights):
            q = self._kept[i] = self._kept[i].to(weight)
            parts.append(self._finish(torch.linalg.vecdot(q.flatten(-2), weight.flatten(-2)), weight))
        if self._left == 0:
            self._kept = []
        return torch.stack(parts).sum(0)

    def state(self) -> dict[str, Tensor]:
        """The factors, and for how many calls they are still good."""
        return {"left": torch.tensor(self._left), **{str(i): q for i, q in enumerate(self._kept)}}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._left = int(state["left"])
        self._kept = [state[str(i)] for i in range(len(state) - 1)]


def _nuclear(weight: Tensor) -> Tensor:
    return singular(weight).sum(-1).to(weight.dtype)


def _scale_invariant(weight: Tensor) -> Tensor:
    return _over_frobenius(_nuclear(weight), weight)


def _as_it_is(nuclear: Tensor, weight: Tensor) -> Tensor:
    return nuclear


def _over_frobenius(nuclear: Tensor, weight: Tensor) -> Tensor:
    return nuclear / frobenius(weight)


def _check_refresh(refresh: int) -> None:
    if refresh < 1:
        raise UsageError(f"a polar factor is kept for at least 1 step, got {refresh}")

"""Low rank: the nuclear norm, the sum of singular values, and the same over the Frobenius norm.

Its gradient is the polar factor `U V^T`; see `polar` for how it is found cheaply. The "fast" forms keep a rough factor
for some steps and make up for what it missed (`kept`); `benchmarks/penalties.py` measures what that changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from brittle.errors import UsageError
from brittle.training.penalties.kept import PolarTerm
from brittle.training.penalties.polar import polar_factor, rough_polar_factor
from brittle.training.penalties.spectrum import singular
from brittle.training.penalties.sums import frobenius, total
from brittle.training.penalties.threshold import randomised_threshold, threshold
from brittle.training.protocols import Term

# Optimiser steps for which a fast form keeps a polar factor, once it is under way.
_KEPT = 13


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
    """`sum_i sigma_i(W)`, with a polar factor kept for up to `refresh` steps and a randomised proximal step.

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
        """A gradient that looks back up to `refresh - 1` steps, and ahead by what the last window missed."""
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
    """`sum_i sigma_i / ||W||_F`, with a polar factor kept for up to `refresh` steps; the norm below is always fresh."""

    refresh: int = _KEPT
    name: str = field(default="nuclear_si_fast", init=False)

    def __post_init__(self) -> None:
        _check_refresh(self.refresh)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_scale_invariant, weights)

    def start(self) -> Term:
        """A gradient that looks back up to `refresh - 1` steps, and ahead by what the last window missed."""
        return PolarTerm(rough_polar_factor, self.refresh, _over_frobenius)


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

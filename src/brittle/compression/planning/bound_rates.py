"""Layer-wise rates by the product bound: every layer may change by the same share of its operator norm.

Legend: W_l the layers' matrices, nu row l1 norms, sigma singular values, tau the common share.

For a ReLU network f, and f' with W_l - E_l in place of W_l, `||E_l|| <= tau ||W_l||` for all n layers gives

    || f(x) - f'(x) || <= ((1 + tau)^n - 1) prod_l ||W_l|| ||x||     (no biases; layer by layer, triangle inequality),

so for a given tau each layer is cut as far as the bound allows, whatever its scale. In l_inf removing rows costs the
largest norm removed, `||E||_inf = nu_(k+1)` against `||W||_inf = nu_(1)`; in l_2 cutting to rank r costs `sigma_{r+1}`
against `sigma_1`. That is what Theorem 3.1's spread beta_k measures (Barsbey et al., ICLR 2026): layers whose dominant
terms are alike cannot be cut cheaply. For a convolution the matrix is the reshaped kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.ranks import checked_knob, spectra
from brittle.compression.scores.magnitude import l1
from brittle.errors import ModelError


def bound_widths(model: nn.Module, couplings: Sequence[Coupling]) -> Family:
    """Units stay whose producing weights have an l1 norm above `(1 - knob)` times their coupling's largest.

    At least one stays, and at knob 1 all do.

    Raises:
        ModelError: no couplings.
    """
    if not couplings:
        raise ModelError(
            "the model has no channels, neurons or heads that can be removed: choose a method that cuts ranks instead"
        )
    return _Widths(l1(model, couplings, None))


def bound_ranks(model: nn.Module, layers: Sequence[str] | None = None) -> Family:
    """Singular values stay that are above `(1 - knob)` times their layer's largest; at least one, at knob 1 all.

    Raises:
        ModelError: as `brittle.compression.ranks.spectra`.
    """
    found = spectra(model, layers)
    return _Ranks({s.name: s.values for s in found}, {s.name: s.most for s in found})


@dataclass(frozen=True, eq=False)
class _Widths:
    norms: Mapping[str, Tensor]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        share = 1 - checked_knob(knob)
        return CompressionPlan(units={name: _above(nu, share) for name, nu in self.norms.items()})


@dataclass(frozen=True, eq=False)
class _Ranks:
    values: Mapping[str, Tensor]
    most: Mapping[str, int]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]; a rank that saves nothing is not named."""
        share = 1 - checked_knob(knob)
        ranks = {name: _above(sigma, share) for name, sigma in self.values.items()}
        return CompressionPlan(ranks={name: rank for name, rank in ranks.items() if rank <= self.most[name]})


def _above(values: Tensor, share: float) -> int:
    """How many values are above `share` of the largest: all for a share of 0, at least one."""
    if share == 0:
        return len(values)
    return max(1, int((values > share * values.max()).sum()))

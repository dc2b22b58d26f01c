"""Families of plans that choose widths: the same share everywhere, one threshold for all units, or a common residual.

Legend: u units of a coupling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from brittle.compressibility.residual import residuals
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.compression.ranks import checked_knob
from brittle.compression.scores.magnitude import l1
from brittle.errors import ModelError, UsageError

# What a threshold for all couplings may not go below, as a share of a coupling's units: a layer that is nearly shut
# decides the accuracy of the whole network.
LEAST_SHARE = 0.05


def uniform_widths(couplings: Sequence[Coupling]) -> Family:
    """Every coupling keeps the same share: `max(1, floor(knob * u + 1/2))` units.

    Raises:
        ModelError: no couplings.
    """
    return _Uniform(_some(couplings))


def global_widths(couplings: Sequence[Coupling], scores: Mapping[str, Tensor]) -> Family:
    """All units of all couplings in one queue by score; the knob is the share of them that stays.

    Scores are divided by their coupling's mean, as torch-pruning does, since layers differ in scale. A coupling keeps
    at least `max(1, ceil(0.05 u))` units, whatever their scores. Of equal scores the first stay.

    Args:
        couplings: of the network.
        scores: (u,) for each coupling by name.

    Raises:
        ModelError: no couplings.
        UsageError: scores that are missing, of another length, negative or not finite.
    """
    _check_scores(_some(couplings), scores)
    least = {c.name: max(1, ceil(LEAST_SHARE * c.units)) for c in couplings}
    owners, values = [], []
    for i, coupling in enumerate(couplings):
        score = scores[coupling.name].detach().double().cpu()
        # The best ones stay in any case, so only the others stand in the queue.
        rest = score.sort(descending=True, stable=True).values[least[coupling.name] :]
        owners += [i] * len(rest)
        values.append(rest / score.mean().clamp_min(torch.finfo(torch.float64).tiny))
    order = torch.cat(values).argsort(descending=True, stable=True)
    return _Queue(couplings, tuple(least.values()), torch.tensor(owners, dtype=torch.int64)[order])


def eps_widths(model: nn.Module, couplings: Sequence[Coupling]) -> Family:
    """eps-pruning: one residual for all couplings, as many units each as it takes.

    With nu_j the l1 norm of all weights that produce unit j, a coupling keeps the smallest k with `sum of all but the k
    largest nu_j <= epsilon * sum of all nu_j`, at least one; `epsilon = 1 - knob`. At knob 1 nothing goes, not even
    units whose weights are zero.

    Source: Barsbey, Ribeiro, Simsekli, Birdal, ICLR 2026 (arXiv 2507.17725), compressibility of rows with q = 1.

    Raises:
        ModelError: no couplings.
    """
    norms = l1(model, _some(couplings), None)
    return _Common(tuple(couplings), tuple(residuals(norms[c.name]) for c in couplings))


def kept_units(plan: CompressionPlan, scores: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The units that stay, ascending: for each coupling the plan names, as many as it says with the largest scores.

    Of equal scores the first stay.

    Raises:
        UsageError: scores that are missing, not finite, or fewer than the units to keep.
    """
    chosen = {}
    for name, count in plan.units.items():
        if name not in scores:
            raise UsageError(f"no scores for coupling {name!r}: score all couplings that the plan names")
        score = scores[name].detach().double()
        if not bool(torch.isfinite(score).all()):
            raise UsageError(f"scores of coupling {name!r} hold NaN or infinity: expected finite numbers")
        if not 1 <= count <= len(score):
            raise UsageError(f"the plan keeps {count} of {len(score)} units of {name!r}: keep 1 to {len(score)}")
        best = score.argsort(descending=True, stable=True)[:count]
        chosen[name] = tuple(sorted(best.tolist()))
    return chosen


@dataclass(frozen=True)
class _Uniform:
    couplings: Sequence[Coupling]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        share = checked_knob(knob)
        return CompressionPlan(units={c.name: max(1, int(share * c.units + 0.5)) for c in self.couplings})


@dataclass(frozen=True, eq=False)
class _Queue:
    """`owners`: the position of each queued unit's coupling, best score first."""

    couplings: Sequence[Coupling]
    least: tuple[int, ...]
    owners: Tensor

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        taken = round(checked_knob(knob) * len(self.owners))
        counts = torch.bincount(self.owners[:taken], minlength=len(self.couplings)).tolist()
        triples = zip(self.couplings, self.least, counts, strict=True)
        return CompressionPlan(units={c.name: least + count for c, least, count in triples})


@dataclass(frozen=True, eq=False)
class _Common:
    couplings: tuple[Coupling, ...]
    left: tuple[Tensor, ...]

    def __call__(self, knob: float) -> CompressionPlan:
        """The plan at `knob` in [0, 1]."""
        epsilon = 1 - checked_knob(knob)
        if epsilon == 0:
            return CompressionPlan(units={c.name: c.units for c in self.couplings})
        counts = [max(1, int((left <= epsilon).int().argmax())) for left in self.left]
        return CompressionPlan(units={c.name: k for c, k in zip(self.couplings, counts, strict=True)})


def _some(couplings: Sequence[Coupling]) -> Sequence[Coupling]:
    if not couplings:
        raise ModelError(
            "the model has no channels, neurons or heads that can be removed: choose a method that cuts ranks instead"
        )
    return couplings


def _check_scores(couplings: Sequence[Coupling], scores: Mapping[str, Tensor]) -> None:
    for coupling in couplings:
        score = scores.get(coupling.name)
        if score is None or score.shape != (coupling.units,):
            raise UsageError(
                f"coupling {coupling.name!r} needs {coupling.units} scores, got "
                f"{'none' if score is None else f'shape {tuple(score.shape)}'}: score the couplings of this model"
            )
        if not bool(torch.isfinite(score).all() & (score >= 0).all()):
            raise UsageError(f"scores of coupling {coupling.name!r} must be finite and at least 0: score them again")

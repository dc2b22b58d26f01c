"""Penalties on the chosen layers' matrices, added to the loss or, where it is known, taken as a proximal step."""

from __future__ import annotations

from brittle.errors import UsageError
from brittle.training.penalties.alignment import Alignment
from brittle.training.penalties.beta_control import BetaControl
from brittle.training.penalties.conditioning import Condition, Orthonormality
from brittle.training.penalties.effective_rank import EffectiveRank
from brittle.training.penalties.group_lasso import GroupLasso, GroupLassoScaleInvariant
from brittle.training.penalties.l1 import L1, L1ScaleInvariant
from brittle.training.penalties.nuclear import (
    FastNuclear,
    FastNuclearScaleInvariant,
    Nuclear,
    NuclearScaleInvariant,
)
from brittle.training.penalties.sparsity import PQ
from brittle.training.penalties.spectral import Spectral
from brittle.training.protocols import Penalty

__all__ = ["PENALTIES", "penalty_named"]

PENALTIES: dict[str, Penalty] = {
    "l1": L1(),
    "group_lasso": GroupLasso(),
    "nuclear": Nuclear(),
    "nuclear_fast": FastNuclear(),
    "l1_si": L1ScaleInvariant(),
    "group_lasso_si": GroupLassoScaleInvariant(),
    "nuclear_si": NuclearScaleInvariant(),
    "nuclear_si_fast": FastNuclearScaleInvariant(),
    "pq": PQ(),
    "effective_rank": EffectiveRank(),
    "beta_control": BetaControl(),
    "alignment": Alignment(),
    "spectral": Spectral(),
    "orthonormality": Orthonormality(),
    "condition": Condition(),
}


def penalty_named(name: str) -> Penalty:
    """The penalty called `name` in `PENALTIES`.

    Raises:
        UsageError: no such penalty.
    """
    if name not in PENALTIES:
        raise UsageError(f"unknown penalty {name!r}: expected one of {', '.join(PENALTIES)}")
    return PENALTIES[name]

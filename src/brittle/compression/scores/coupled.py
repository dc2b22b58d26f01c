"""What produces a unit times what reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.protocols import Evidence
from brittle.compression.scores.magnitude import unit_weights


def coupled(model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence | None) -> Mapping[str, Tensor]:
    """`||weights that produce the unit||_2 * ||weights that read it||_2`, (u,) float64 by coupling.

    Rescaling a ReLU unit's two sides against each other changes neither the network nor this score. The evidence is
    not looked at.
    """
    return {
        c.name: unit_weights(model, c, "out").norm(dim=1) * unit_weights(model, c, "in").norm(dim=1) for c in couplings
    }

"""The scores by name. A new one is a new file and a line here."""

from __future__ import annotations

from brittle.compression.protocols import UnitScore
from brittle.compression.scores.activation import activation
from brittle.compression.scores.coupled import coupled
from brittle.compression.scores.magnitude import l1, l2
from brittle.compression.scores.robust import robust
from brittle.compression.scores.taylor import taylor

SCORES: dict[str, UnitScore] = {
    "l1": l1,
    "l2": l2,
    "coupled": coupled,
    "taylor": taylor,
    "robust": robust,
    "activation": activation,
}

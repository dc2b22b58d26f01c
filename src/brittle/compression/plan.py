"""What a compressed network keeps, as data: units of couplings, ranks and modes of layers, shares of weights, bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brittle.compression.modes import Modes


@dataclass(frozen=True)
class CompressionPlan:
    """How much each part of a network keeps. What is not named stays as it is.

    Attributes:
        units: names of couplings -> how many of their units stay (channels, neurons or heads).
        ranks: names of layers -> their rank, after units have gone; 0 or absent: dense.
        modes: names of layers -> the mixtures of channels and positions that they read; the rank is then that of what
            reads them.
        densities: names of layers -> the share of single weights that stay; the others become zero, shapes stay.
        bits: 8 for weights rounded to int8 with one scale for each output channel; None: as they are.
    """

    units: Mapping[str, int] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    densities: Mapping[str, float] = field(default_factory=dict)
    bits: int | None = None
    modes: Mapping[str, Modes] = field(default_factory=dict)

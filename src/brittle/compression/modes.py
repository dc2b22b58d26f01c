"""Which modes of a layer's inputs a plan mixes down, beside the rank: nested factorisation as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Modes:
    """How many mixtures of its input's modes a layer reads; 0 leaves a mode as it is.

    Attributes:
        channels: mixtures of the input channels that stay (of a convolution, or of the map before a flatten).
        positions: mixtures of the positions that stay, the same for every channel; dense layers behind a flatten only.
        each: positions that each channel has there (height * width before the flatten); 1 for a convolution.
    """

    channels: int = 0
    positions: int = 0
    each: int = 1

"""What nested modes and a rank make of one layer's shape: which of them save weights, and how many are left.

Legend: h outputs, C input channels, S positions of each (height * width before a flatten, or k k taps), a and s
mixtures of them, r rank of the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from brittle.compression.modes import Modes


@dataclass(frozen=True)
class Nesting:
    """A nested layer in the place of one with kernel (h, C, ...).

    Attributes:
        shape: (h, C, S).
        channels: a, 0 where all stay.
        positions: s, 0 where all stay.
        rank: r, 0 for a dense core.
    """

    shape: tuple[int, int, int]
    channels: int
    positions: int
    rank: int

    @property
    def core(self) -> tuple[int, int, int]:
        """(h, a, s), the shape of the core as a tensor."""
        h, c, s = self.shape
        return h, self.channels or c, self.positions or s

    def weights(self) -> dict[str, int]:
        """Numbers of weights by the part's path within the layer, biases apart."""
        h, c, s = self.shape
        read = prod(self.core[1:])
        parts = {"positions": s * self.positions, "channels": c * self.channels}
        core = {"core.first": read * self.rank, "core.second": self.rank * h} if self.rank else {"core": h * read}
        return {name: count for name, count in {**parts, **core}.items() if count}


def nesting(shape: tuple[int, ...], modes: Modes | None, rank: int) -> Nesting | None:
    """The nested layer that a plan makes of a kernel (h, d) or (h, C, k, k); None where it saves nothing.

    Mixtures that are as many as what they mix are left out, and so is a rank at which the core would not be smaller.
    None says that the layer has its rank alone, if any.
    """
    if modes is None:
        return None
    h, columns, *window = shape
    each = prod(window) if window else modes.each
    if each < 1 or (not window and columns % each):
        return None
    c = columns if window else columns // each
    a = modes.channels if modes.channels < c else 0
    s = modes.positions if not window and modes.positions < each else 0
    read = (a or c) * (s or each)
    found = Nesting((h, c, each), a, s, rank if 0 < rank * (read + h) < read * h else 0)
    saves = sum(found.weights().values()) < prod(shape)
    return found if (a or s) and saves else None

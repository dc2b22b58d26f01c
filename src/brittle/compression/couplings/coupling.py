"""Units that can only be removed together, as data.

Legend: u units of a coupling; a module's sides are its outputs and its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["out", "in"]


@dataclass(frozen=True)
class Member:
    """One side of one module that loses channels with a coupling.

    `index[j]` are the positions on that side that unit j stands for: one for a channel, height * width after a flatten,
    a head's width in attention. A norm or a depthwise convolution has one side, its outputs.
    """

    module: str
    side: Side
    index: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Coupling:
    """`units` channels, neurons or heads, named after the module that makes them; at least one always stays."""

    name: str
    kind: Literal["channels", "neurons", "heads"]
    units: int
    members: tuple[Member, ...]

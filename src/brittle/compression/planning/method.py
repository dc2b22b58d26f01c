"""A compression method as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from brittle.compression.carry_out import How
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.protocols import Evidence, Family

# Plans by one knob, from the network, its couplings, the evidence and how plans will be carried out.
FamilyOf = Callable[[nn.Module, tuple[Coupling, ...], Evidence, How], Family]


@dataclass(frozen=True)
class Method:
    """A family of plans, and how they are carried out; `units` says whether the family removes units.

    `auto` and `int8` have no family: there is no knob to turn.
    """

    family: FamilyOf | None
    how: How = field(default_factory=How)
    units: bool = True

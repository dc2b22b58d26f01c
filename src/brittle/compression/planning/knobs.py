"""What a plan can turn: the units of each coupling and the rank of each layer, as short ladders of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from torch import nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.factorable import factorable
from brittle.compression.pairs import LOW_RANK
from brittle.compression.plan import CompressionPlan
from brittle.compression.ranks import thin_layers
from brittle.compression.unfoldings import full_rank, unfolding_of, weights_at

# From one rung to the next a ladder keeps this share. Few rungs are measured, those between them interpolated: so many
# on each ladder, fewer where a network has many ladders.
OFFERED = 0.85
RUNGS, LEAST_RUNGS, CANDIDATES = 6, 2, 96
# No ladder goes below this share of what a plan of the wanted size keeps on average.
LEAST = 0.4

# The fields of a plan that hold sizes.
Group = Literal["units", "ranks"]


@dataclass(frozen=True)
class Knob:
    """One size of a plan: `sizes` from the whole down; the first is what the network has now.

    `measured` are positions among `sizes` whose loss is measured, first and last included.
    """

    group: Group
    name: str
    sizes: tuple[int, ...]
    measured: tuple[int, ...]

    @property
    def whole(self) -> int:
        """The size that changes nothing."""
        return self.sizes[0]

    def size(self, plan: CompressionPlan) -> int:
        """What the plan sets it to; the whole where it does not."""
        return getattr(plan, self.group).get(self.name, 0) or self.whole

    def turned(self, plan: CompressionPlan, size: int) -> CompressionPlan:
        """The plan with this size in place of its own; the whole is not named."""
        parts = {"units": plan.units, "ranks": plan.ranks}
        others = {name: other for name, other in parts[self.group].items() if name != self.name}
        parts[self.group] = others if size >= self.whole else {**others, self.name: size}
        return replace(plan, units=parts["units"], ranks=parts["ranks"])


@dataclass(frozen=True)
class Knobs:
    """All knobs of a network: units of couplings, and ranks of layers, whose whole is the full rank (dense)."""

    units: tuple[Knob, ...]
    ranks: tuple[Knob, ...]

    def all(self) -> tuple[Knob, ...]:
        """Both, units first."""
        return tuple(chain(self.units, self.ranks))

    def candidates(self) -> tuple[tuple[Knob, int], ...]:
        """Each knob with each of its measured sizes but the whole."""
        return tuple((knob, knob.sizes[i]) for knob in self.all() for i in knob.measured[1:])


def knobs(model: nn.Module, couplings: Sequence[Coupling], keep: float) -> Knobs:
    """Ladders for every coupling and for every dense layer that a low rank makes smaller, down to what `keep` may need.

    A plan that keeps the share `keep` of the parameters by one means alone keeps about `sqrt(keep)` of the units, or
    `keep` of the ranks; ladders go to 0.4 times that.
    """
    layers = factorable(model)
    # The head stays dense, and so do pairs as they are: their rank was chosen before.
    cut = {name: layers[name] for name in thin_layers(model) if not isinstance(layers[name], LOW_RANK)}
    rungs = min(RUNGS, max(LEAST_RUNGS, CANDIDATES // max(1, len(couplings) + len(cut))))
    units = [_ladder("units", c.name, c.units, c.units - 1, LEAST * keep**0.5 * c.units, rungs) for c in couplings]
    ranks = []
    for name, layer in cut.items():
        full, saving = _ranks(layer)
        ranks.append(_ladder("ranks", name, full, saving, LEAST * keep * full, rungs))
    return Knobs(tuple(units), tuple(ranks))


def _ranks(layer: nn.Module) -> tuple[int, int]:
    """The full rank, and the largest rank that saves weights."""
    unfolding = unfolding_of(layer)
    whole, full = weights_at(layer, 0, unfolding), full_rank(layer, unfolding)
    return full, max(rank for rank in range(1, full + 1) if weights_at(layer, rank, unfolding) < whole)


def _ladder(group: Group, name: str, whole: int, largest: int, least: float, rungs: int) -> Knob:
    """Whole, then from `largest` down to `least` by the offered share; sizes are distinct whole numbers >= 1."""
    sizes, size = [whole], float(largest)
    while round(size) >= 1 and size >= min(least, largest):
        if round(size) < sizes[-1]:
            sizes.append(round(size))
        size = min(size * OFFERED, size - 0.5)
    last = len(sizes) - 1
    measured = {round(last * i / rungs) for i in range(rungs + 1)} if last else {0}
    return Knob(group, name, tuple(sizes), tuple(sorted(measured)))

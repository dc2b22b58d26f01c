"""What a plan can turn: the units of each coupling, the rank and the nested sizes of each layer, as short ladders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from typing import Literal

from torch import nn

from brittle.compression.couplings.coupling import Coupling
from brittle.compression.factorable import factorable
from brittle.compression.frontier import Size
from brittle.compression.modes import Modes
from brittle.compression.nesting import nesting
from brittle.compression.pairs import LOW_RANK, kernel_shape
from brittle.compression.plan import CompressionPlan
from brittle.compression.ranks import thin_layers
from brittle.compression.unfoldings import full_rank, unfolding_of, weights_at

# From one rung to the next a ladder keeps this share. Few rungs are measured, those between them interpolated: so many
# on each ladder, fewer where a network has many ladders.
OFFERED = 0.85
RUNGS, LEAST_RUNGS, CANDIDATES = 6, 2, 96
# No ladder goes below this share of what a plan of the wanted size keeps on average.
LEAST = 0.4

# Modes and the rank of a nested layer.
Nested = tuple[Modes, int]
# The fields of a plan that hold sizes.
Group = Literal["units", "ranks", "modes"]


@dataclass(frozen=True)
class Knob:
    """One size of a plan: `sizes` from the whole down; the first is what the network has now.

    Attributes:
        group: what the sizes are: numbers of units, ranks, or numbers of weights of a nested layer.
        name: of the coupling or layer.
        sizes: distinct, falling.
        measured: positions among `sizes` whose loss is measured, first and last included.
        nested: of a nested layer, the modes and the rank of each size but the whole.
        shape: of a nested layer, its kernel's.
    """

    group: Group
    name: str
    sizes: tuple[int, ...]
    measured: tuple[int, ...]
    nested: tuple[Nested, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def whole(self) -> int:
        """The size that changes nothing."""
        return self.sizes[0]

    def size(self, plan: CompressionPlan) -> int:
        """What the plan sets it to; the whole where it does not. A layer with modes has no rank alone."""
        if self.group == "modes":
            found = nesting(self.shape, plan.modes.get(self.name), plan.ranks.get(self.name, 0))
            return self.whole if found is None else sum(found.weights().values())
        if self.group == "ranks" and self.name in plan.modes:
            return self.whole
        return getattr(plan, self.group).get(self.name, 0) or self.whole

    def turned(self, plan: CompressionPlan, size: int) -> CompressionPlan:
        """The plan with this size in place of its own; the whole is not named.

        A nested layer has the largest of its sizes that is not above the one given, or its smallest.
        """
        if self.group == "units":
            return replace(plan, units=self._with(plan.units, 0 if size >= self.whole else size))
        modes = {name: other for name, other in plan.modes.items() if name != self.name}
        if self.group == "ranks":
            return replace(plan, ranks=self._with(plan.ranks, 0 if size >= self.whole else size), modes=modes)
        if size >= self.whole:
            return replace(plan, ranks=self._with(plan.ranks, 0), modes=modes)
        chosen = self.at(size)
        return replace(plan, ranks=self._with(plan.ranks, chosen[1]), modes={**modes, self.name: chosen[0]})

    def at(self, size: int) -> Nested:
        """Modes and rank of a size of a nested layer."""
        fitting = [i for i, other in enumerate(self.sizes[1:]) if other <= size]
        return self.nested[fitting[0] if fitting else -1]

    def key(self, size: int) -> str:
        """Says which candidate a size is."""
        return f"{self.group} {self.name} {size}" + (f" {self.at(size)}" if self.nested else "")

    def _with(self, sizes: Mapping[str, int], size: int) -> dict[str, int]:
        others = {name: other for name, other in sizes.items() if name != self.name}
        return {**others, self.name: size} if size else others


@dataclass(frozen=True)
class Knobs:
    """All knobs of a network: units of couplings, ranks of layers (whose whole is dense), nested sizes of layers."""

    units: tuple[Knob, ...]
    ranks: tuple[Knob, ...]
    modes: tuple[Knob, ...] = ()

    def all(self) -> tuple[Knob, ...]:
        """All, units first."""
        return tuple(chain(self.units, self.ranks, self.modes))

    def candidates(self) -> tuple[tuple[Knob, int], ...]:
        """Each knob with each of its measured sizes but the whole."""
        return tuple((knob, knob.sizes[i]) for knob in self.all() for i in knob.measured[1:])


def knobs(
    model: nn.Module, couplings: Sequence[Coupling], keep: float, worth: Mapping[str, Sequence[Size]] | None = None
) -> Knobs:
    """Ladders for every coupling and for every dense layer that a low rank makes smaller, down to what `keep` may need.

    Layers in `worth`, which says what sizes of theirs are worth a look, have a ladder of nested sizes too.

    A plan that keeps the share `keep` of the parameters by one means alone keeps about `sqrt(keep)` of the units, or
    `keep` of the ranks; ladders go to 0.4 times that.
    """
    layers = factorable(model)
    # The head stays dense, and so do pairs as they are: their rank was chosen before.
    cut = {name: layers[name] for name in thin_layers(model) if not isinstance(layers[name], LOW_RANK)}
    nested = {name: sizes for name, sizes in (worth or {}).items() if name in cut}
    rungs = min(RUNGS, max(LEAST_RUNGS, CANDIDATES // max(1, len(couplings) + len(cut) + len(nested))))
    units = [_ladder("units", c.name, c.units, c.units - 1, LEAST * keep**0.5 * c.units, rungs) for c in couplings]
    ranks = []
    for name, layer in cut.items():
        full, saving = _ranks(layer)
        ranks.append(_ladder("ranks", name, full, saving, LEAST * keep * full, rungs))
    modes = [_nested_ladder(name, cut[name], sizes, LEAST * keep, rungs) for name, sizes in nested.items()]
    return Knobs(tuple(units), tuple(ranks), tuple(knob for knob in modes if len(knob.sizes) > 1))


def _nested_ladder(name: str, layer: nn.Module, worth: Sequence[Size], least: float, rungs: int) -> Knob:
    """Whole, then those of the sizes with modes whose weights fall by the offered share or more, down to `least`."""
    shape = tuple(kernel_shape(layer))
    sizes, nested, last = [prod(shape)], [], float(prod(shape))
    for size in sorted(worth, key=lambda size: -size.weights):
        if size.modes is not None and least * sizes[0] <= size.weights <= OFFERED * last:
            sizes.append(size.weights)
            nested.append((size.modes, size.rank))
            last = size.weights
    return Knob("modes", name, tuple(sizes), _measured(len(sizes) - 1, rungs), tuple(nested), shape)


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
    return Knob(group, name, tuple(sizes), _measured(len(sizes) - 1, rungs))


def _measured(last: int, rungs: int) -> tuple[int, ...]:
    return tuple(sorted({round(last * i / rungs) for i in range(rungs + 1)} if last else {0}))

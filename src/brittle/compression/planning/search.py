"""Widths, ranks and modes together: the plan of least predicted loss within an exact count of parameters.

A width changes what the ranks and modes of its neighbours cost, so they are not chosen independently: a local search
walks over the widths, and for each all else is chosen by dynamic programming with the exact costs at these widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from torch import nn

from brittle.compression.cost import PlannedParameters
from brittle.compression.couplings.coupling import Coupling, Side
from brittle.compression.factorable import factorable
from brittle.compression.modes import Modes
from brittle.compression.nesting import nesting
from brittle.compression.pairs import kernel_shape
from brittle.compression.plan import CompressionPlan
from brittle.compression.planning.choose import CELLS, Option, choose
from brittle.compression.planning.knobs import Knob, Knobs
from brittle.compression.planning.ladder import interpolated
from brittle.compression.unfoldings import pair_weights
from brittle.errors import UsageError

# Cells of the budget while the search walks; the answer is chosen on the full grid.
_COARSE = 512
# Rounds of the walk from one start, and steps of a ladder tried on either side of where a width stands.
_ROUNDS, _REACH = 20, 4

# Predicted losses added by every size of every knob, one for each of `Knob.sizes`.
Losses = Mapping[Knob, Sequence[float]]


@dataclass(frozen=True)
class Found:
    """A plan within the budget, the loss that it is predicted to add, and its exact size.

    `gap` is what other ranks at the same widths could gain at most, by the prediction; 0 where the budget's grid has a
    cell for each parameter. Whether other widths would be better, the walks cannot exclude.
    """

    plan: CompressionPlan
    loss: float
    parameters: int
    gap: float


@dataclass(eq=False)
class Search:
    """Plans for one network: what its widths and ranks cost, and what they are predicted to lose.

    Attributes:
        model: the network.
        couplings: all of its couplings.
        knobs: the ladders.
        losses: what each size adds to the loss, alone.
        budget: the most parameters.
    """

    model: nn.Module
    couplings: Sequence[Coupling]
    knobs: Knobs
    losses: Losses
    budget: int
    _known: dict[tuple[tuple[int, ...], int], Found | None] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        layers = factorable(self.model)
        self._cost = PlannedParameters(self.model, self.couplings)
        # A layer's rank and its nested sizes are alternatives: ladders by layer.
        self._ladders: dict[str, list[Knob]] = {}
        for knob in (*self.knobs.ranks, *self.knobs.modes):
            self._ladders.setdefault(knob.name, []).append(knob)
        self._shapes = {name: tuple(kernel_shape(layers[name])) for name in self._ladders}
        self._sides: dict[tuple[str, Side], list[tuple[str, int, int]]] = {}
        for coupling in self.couplings:
            for member in coupling.members:
                sides = self._sides.setdefault((member.module, member.side), [])
                sides.append((coupling.name, coupling.units, len(member.index[0])))

    def best(self, count: int = 1, apart: int = 1) -> tuple[Found, ...]:
        """The best plans that the walks meet, best first; the first is the answer.

        Walks begin at nine equal shares of all ladders. Of the others each is at least `apart` steps of the width
        ladders, summed, from those before it.

        Raises:
            UsageError: even the smallest sizes of all ladders exceed the budget.
        """
        ends = [len(knob.sizes) - 1 for knob in self.knobs.units]
        for start in dict.fromkeys(tuple(round(share * end / 8) for end in ends) for share in range(9)):
            self._walk(start)
        met = sorted(
            ((found.loss, rungs) for (rungs, cells), found in self._known.items() if found and cells == _COARSE)
        )
        if not met:
            raise UsageError(
                f"no plan has at most {self.budget} parameters, even with every width and rank at its least: ask for "
                "a larger share to keep"
            )
        chosen: list[tuple[int, ...]] = []
        for _, rungs in met:
            if len(chosen) < count and all(_distance(rungs, other) >= apart for other in chosen):
                chosen.append(rungs)
        return tuple(found for rungs in chosen if (found := self._at(rungs, CELLS)) is not None)

    def neighbours(self, plan: CompressionPlan) -> tuple[Found, ...]:
        """Plans with one width a step or two away, or two moved against each other, with the best ranks for them.

        Best prediction first. Widths between rungs count as the nearest one.
        """
        here = tuple(
            min(range(len(knob.sizes)), key=lambda i: abs(knob.sizes[i] - knob.size(plan))) for knob in self.knobs.units
        )
        places = range(len(here))
        moves = [{i: step} for i in places for step in (-2, -1, 1, 2)]
        moves += [{i: -1, j: 1} for i in places for j in places if i != j]
        found = []
        for move in moves:
            there = tuple(rung + move.get(i, 0) for i, rung in enumerate(here))
            if all(0 <= rung < len(knob.sizes) for rung, knob in zip(there, self.knobs.units, strict=True)):
                found.append(self._at(there, CELLS))
        return tuple(sorted((f for f in found if f is not None), key=lambda f: f.loss))

    def predicted(self, plan: CompressionPlan) -> float:
        """The summed losses of the plan's sizes, also between rungs."""
        return summed(self.knobs, self.losses, plan)

    def filled(self, found: Found) -> Found:
        """The plan with what is left of the budget spent, where the prediction gains most for a parameter.

        One size at a time grows, by one or by a fiftieth of it, until nothing more fits.
        """
        plan, cost = found.plan, found.parameters
        while True:
            best: tuple[float, CompressionPlan, int] | None = None
            for larger in self._larger(plan):
                size = self._cost(larger)
                if cost < size <= self.budget:
                    worth = (self.predicted(plan) - self.predicted(larger)) / (size - cost)
                    if best is None or worth > best[0]:
                        best = (worth, larger, size)
            if best is None:
                return Found(plan, self.predicted(plan), cost, found.gap)
            plan, cost = best[1], best[2]

    def _larger(self, plan: CompressionPlan) -> Iterator[CompressionPlan]:
        for knob in self.knobs.all():
            size = knob.size(plan)
            if size < knob.whole:
                most = knob.whole if knob.group == "units" else knob.sizes[1]
                grown = min(most, size + max(1, size // 50))
                if knob.group == "modes":
                    yield from _larger_nested(knob, plan, size)
                elif grown > size:
                    yield knob.turned(plan, grown)

    def _walk(self, start: tuple[int, ...]) -> None:
        here, loss = start, self._loss(start)
        for _ in range(_ROUNDS):
            before = here
            for i, knob in enumerate(self.knobs.units):
                for rung in range(max(0, here[i] - _REACH), min(len(knob.sizes), here[i] + _REACH + 1)):
                    there = (*here[:i], rung, *here[i + 1 :])
                    if (value := self._loss(there)) < loss:
                        here, loss = there, value
            if here == before:
                return

    def _loss(self, rungs: tuple[int, ...]) -> float:
        found = self._at(rungs, _COARSE)
        return inf if found is None else found.loss

    def _at(self, rungs: tuple[int, ...], cells: int) -> Found | None:
        if (rungs, cells) not in self._known:
            self._known[rungs, cells] = self._ranks_for(rungs, cells)
        return self._known[rungs, cells]

    def _ranks_for(self, rungs: tuple[int, ...], cells: int) -> Found | None:
        """The best ranks for these widths; None where even the smallest ones exceed the budget."""
        units = {knob.name: knob.sizes[i] for knob, i in zip(self.knobs.units, rungs, strict=True) if i}
        added = sum(self.losses[knob][i] for knob, i in zip(self.knobs.units, rungs, strict=True))
        shapes = {name: self._shape(name, units) for name in self._shapes}
        base = self._cost(CompressionPlan(units=units)) - sum(pair_weights(shape, 0) for shape in shapes.values())
        ladders = [self._options(name, shape) for name, shape in shapes.items()]
        if base + sum(min(option.cost for _, option in ladder) for ladder in ladders) > self.budget:
            return None
        choice = choose([[option for _, option in ladder] for ladder in ladders], self.budget - base, cells)
        picked = {name: ladder[i][0] for name, ladder, i in zip(shapes, ladders, choice.picks, strict=True)}
        plan = CompressionPlan(
            units=units,
            ranks={name: rank for name, (_, rank) in picked.items() if rank},
            modes={name: modes for name, (modes, _) in picked.items() if modes is not None},
        )
        return Found(plan, added + choice.loss, base + choice.cost, choice.gap)

    def _options(self, name: str, shape: tuple[int, ...]) -> list[tuple[tuple[Modes | None, int], Option]]:
        """Dense (rank 0), and every rank and nested size of the ladders that saves weights at this shape."""
        dense = pair_weights(shape, 0)
        options: list[tuple[tuple[Modes | None, int], Option]] = [((None, 0), Option(dense, 0.0))]
        for knob in self._ladders[name]:
            for i, loss in enumerate(self.losses[knob][1:]):
                if knob.group == "ranks":
                    rank, weights = knob.sizes[i + 1], pair_weights(shape, knob.sizes[i + 1])
                    if weights < dense:
                        options.append(((None, rank), Option(weights, loss)))
                elif (found := nesting(shape, *knob.nested[i])) is not None:
                    options.append((knob.nested[i], Option(sum(found.weights().values()), loss)))
        return options

    def _shape(self, name: str, units: Mapping[str, int]) -> tuple[int, ...]:
        """A layer's kernel once units have gone."""
        rows, columns, *window = self._shapes[name]
        return (rows - self._lost(name, "out", units), columns - self._lost(name, "in", units), *window)

    def _lost(self, name: str, side: Side, units: Mapping[str, int]) -> int:
        sides = self._sides.get((name, side), ())
        return sum((whole - units.get(coupling, whole)) * each for coupling, whole, each in sides)


def summed(knobs: Knobs, losses: Losses, plan: CompressionPlan) -> float:
    """The sum over all knobs of what the plan's size adds, linear in the logarithm of the size between rungs."""
    return sum(interpolated(knob.sizes, losses[knob], knob.size(plan)) for knob in knobs.all())


def _larger_nested(knob: Knob, plan: CompressionPlan, size: int) -> Iterator[CompressionPlan]:
    """The next size of a nested layer, and its present modes with a larger rank."""
    above = [other for other in knob.sizes[1:] if other > size]
    if above:
        yield knob.turned(plan, above[-1])
    rank = plan.ranks.get(knob.name, 0)
    if rank:
        yield replace(plan, ranks={**plan.ranks, knob.name: rank + max(1, rank // 50)})


def _distance(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(abs(i - j) for i, j in zip(a, b, strict=True))

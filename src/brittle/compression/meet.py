"""Meeting a size: the largest plan of a family that is not above it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import isfinite

from brittle.compression.modes import Modes
from brittle.compression.plan import CompressionPlan
from brittle.compression.protocols import Family
from brittle.errors import UsageError

# Halvings of the knob: beyond 50 a float64 in [0, 1] does not change.
_HALVINGS = 50
# Above every rank: a pair of a larger one costs more than any layer that fits a machine.
_MOST_RANK = 2**40

Cost = Callable[[CompressionPlan], int]


def meet(family: Family, cost: Cost, wanted: float, tolerance: float = 0.03) -> CompressionPlan:
    """The plan of `family` with the largest cost that is at most `wanted`, found by bisection of the knob.

    Where the family's steps are too coarse to come within `tolerance`, the way to its next plan is gone in part:
    the same share of every difference, then each number of the plan in turn as far as the cost allows; the numbers in
    turn alone; and at last numbers beyond the next plan.

    Args:
        family: plans by a knob in [0, 1], never smaller for a larger knob.
        cost: of a plan, for example `PlannedParameters`.
        wanted: the cost to reach, in its units.
        tolerance: largest `1 - cost / wanted` to accept.

    Raises:
        UsageError: a wanted cost that is not positive, outside what the family reaches, or further than the tolerance
            from every plan below it. The message says what can be reached.
    """
    smallest, largest = cost(family(0.0)), cost(family(1.0))
    if not (isfinite(wanted) and smallest <= wanted <= largest):
        raise UsageError(
            f"a size of {_number(wanted)} cannot be reached: this method goes from {smallest} to {largest}, choose a "
            "size between them"
        )
    lower, upper = _bisect(family, cost, wanted)
    best = lower
    for plan in _on_the_way(lower, upper, family(1.0), cost, wanted):
        if _near(cost(best), wanted, tolerance):
            break
        best = max(best, plan, key=cost)
    if not _near(cost(best), wanted, tolerance):
        raise UsageError(
            f"a size of {_number(wanted)} cannot be met within {tolerance:.0%}: the nearest this method reaches are "
            f"{cost(best)} and {cost(upper)}, choose one of them"
        )
    return best


def _on_the_way(
    lower: CompressionPlan, upper: CompressionPlan, whole: CompressionPlan, cost: Cost, wanted: float
) -> Iterator[CompressionPlan]:
    """Fuller and fuller plans between two neighbours of a family, at most at the wanted cost."""
    part, _ = _bisect(_between(lower, upper), cost, wanted)
    part = _filled(part, upper, cost, wanted)
    yield part
    yield _filled(lower, upper, cost, wanted)
    yield _filled(part, whole, cost, wanted)


def _bisect(family: Family, cost: Cost, wanted: float) -> tuple[CompressionPlan, CompressionPlan]:
    """The last plan at or below the wanted cost and the first above; both the same at the knob's end."""
    low, high = 0.0, 1.0
    lower, upper = family(low), family(high)
    if cost(upper) <= wanted:
        return upper, upper
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        plan = family(middle)
        if cost(plan) <= wanted:
            low, lower = middle, plan
        else:
            high, upper = middle, plan
    return lower, upper


def _between(lower: CompressionPlan, upper: CompressionPlan) -> Family:
    """Plans on the way: each number goes the same share of it; ranks that the upper plan no longer names wait."""

    def family(knob: float) -> CompressionPlan:
        return replace(
            lower,
            units={name: n + int(knob * (upper.units.get(name, n) - n)) for name, n in lower.units.items()},
            ranks={name: r + int(knob * (upper.ranks.get(name, r) - r)) for name, r in lower.ranks.items()},
            densities={
                name: share + knob * (upper.densities.get(name, 1.0) - share) for name, share in lower.densities.items()
            },
        )

    return family


def _filled(plan: CompressionPlan, upper: CompressionPlan, cost: Cost, wanted: float) -> CompressionPlan:
    """Each number in its turn as far towards the upper plan as the cost allows."""
    for name, start in plan.units.items():
        plan = _furthest(partial(_with_units, plan, name), start, upper.units[name], cost, wanted)
    for name, start in plan.ranks.items():
        end = upper.ranks.get(name)
        if end is None:  # a layer that the upper plan leaves dense: at some rank its pair costs as much
            dense = replace(plan, ranks={other: rank for other, rank in plan.ranks.items() if other != name})
            if cost(dense) <= wanted:
                plan = dense
                continue
            end = _MOST_RANK
        plan = _furthest(partial(_with_rank, plan, name), start, end, cost, wanted)
    for name, modes in plan.modes.items():
        above = upper.modes.get(name, Modes())
        # Where the upper plan leaves a mode whole, half as many mixtures again are as far as a step goes.
        for mixed, start, end in (
            (_with_channels, modes.channels, above.channels),
            (_with_positions, modes.positions, above.positions),
        ):
            end = end or start + start // 2
            plan = _furthest(partial(mixed, plan, name), start, end, cost, wanted) if start else plan
    return plan


def _with_units(plan: CompressionPlan, name: str, units: int) -> CompressionPlan:
    return replace(plan, units={**plan.units, name: units})


def _with_rank(plan: CompressionPlan, name: str, rank: int) -> CompressionPlan:
    return replace(plan, ranks={**plan.ranks, name: rank})


def _with_channels(plan: CompressionPlan, name: str, channels: int) -> CompressionPlan:
    return replace(plan, modes={**plan.modes, name: replace(plan.modes[name], channels=channels)})


def _with_positions(plan: CompressionPlan, name: str, positions: int) -> CompressionPlan:
    return replace(plan, modes={**plan.modes, name: replace(plan.modes[name], positions=positions)})


def _furthest(
    make: Callable[[int], CompressionPlan], start: int, end: int, cost: Cost, wanted: float
) -> CompressionPlan:
    """The plan of the largest number in start..end whose cost is at most the wanted one; that of `start` is."""
    while start < end:
        middle = (start + end + 1) // 2
        if cost(make(middle)) <= wanted:
            start = middle
        else:
            end = middle - 1
    return make(start)


def _near(cost: int, wanted: float, tolerance: float) -> bool:
    return cost >= (1 - tolerance) * wanted


def _number(value: float) -> str:
    return f"{value:.0f}" if isfinite(value) else str(value)

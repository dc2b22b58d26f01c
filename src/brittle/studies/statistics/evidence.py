"""What one cell, or several together, say about a criterion; and the rule that turns it into an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brittle.results.study import Effect, Outcome
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.over_seeds import mean_interval
from brittle.studies.statistics.signed import SignedP, intersection
from brittle.studies.statistics.table import CellTable


@dataclass(frozen=True)
class Evidence:
    """Evidence of one or more cells, oriented by the claim.

    Attributes:
        test: all targets together, positive if they go the claimed way.
        tests: one per target, in the outcome's own direction.
        effects: one per target: mean over cells, interval over seeds.
        room: per target, whether it could have changed by a visible amount in every cell.
    """

    test: SignedP
    tests: tuple[SignedP, ...]
    effects: tuple[Effect, ...]
    room: tuple[bool, ...]


def gather(criterion: Criterion, tables: Sequence[CellTable], seed: int, resamples: int = 9_999) -> Evidence:
    """Test and measure the criterion's targets over these cells together.

    Args:
        criterion: of the claim.
        tables: complete cells with the same seeds, at least one cell and 2 seeds.
        seed: of permutations.
        resamples: permutations drawn, where p is not exact.

    Raises:
        UsageError: as `Design.test`, or a cell without one of the outcomes.
    """
    tests = tuple(criterion.design.test(tables, target.outcome, seed, resamples) for target in criterion.targets)
    return Evidence(
        intersection([test.towards(target.direction) for test, target in zip(tests, criterion.targets, strict=True)]),
        tests,
        measure(criterion, tables),
        tuple(all(_room(criterion, table, target) for table in tables) for target in criterion.targets),
    )


def rule(evidence: Evidence, criterion: Criterion, p: float, alpha: float) -> Outcome:
    """The verdict of this evidence alone, with a p value that may have been corrected.

    With effects e and their intervals [l, u] turned so that positive is as claimed, and smallest effects m:
    supported: p <= alpha with the test positive, and e >= m and l > 0 for all targets; contradicted: p <= alpha with
    the test negative, and e <= -m and u < 0 for all; not supported: -m < l and u < m for a target with room;
    inconclusive otherwise.
    """
    turned = [_turned(effect, target) for effect, target in zip(evidence.effects, criterion.targets, strict=True)]
    least = [target.smallest for target in criterion.targets]
    sign = evidence.test.sign if p <= alpha else 0
    if sign > 0 and all(e >= m and low > 0 for (e, low, _), m in zip(turned, least, strict=True)):
        return "supported"
    if sign < 0 and all(e <= -m and high < 0 for (e, _, high), m in zip(turned, least, strict=True)):
        return "contradicted"
    inside = [-m < low and high < m for (_, low, high), m in zip(turned, least, strict=True)]
    if any(within and room for within, room in zip(inside, evidence.room, strict=True)):
        return "not supported"
    return "inconclusive"


def shows(evidence: Evidence, criterion: Criterion, sign: int) -> bool:
    """Whether every target's estimate is at least the smallest effect, as claimed (sign +1) or the other way (-1)."""
    pairs = zip(evidence.effects, criterion.targets, strict=True)
    return all(sign * effect.value * target.direction >= target.smallest for effect, target in pairs)


def measure(criterion: Criterion, tables: Sequence[CellTable]) -> tuple[Effect, ...]:
    """One effect per target: mean over cells, 95 % interval over seeds. Tables as for `gather`."""
    return tuple(_effect(criterion, tables, target) for target in criterion.targets)


def sentences(criterion: Criterion, effects: Sequence[Effect]) -> tuple[str, ...]:
    """The effects of all targets for people, one each."""
    return tuple(
        criterion.design.sentence(target.label, target.unit, effect.value, effect.interval95)
        for effect, target in zip(effects, criterion.targets, strict=True)
    )


def _turned(effect: Effect, target: Target) -> tuple[float, float, float]:
    low, high = sorted(end * target.direction for end in effect.interval95)
    return effect.value * target.direction, low, high


def _effect(criterion: Criterion, tables: Sequence[CellTable], target: Target) -> Effect:
    values = np.mean([criterion.design.effects(table, target.outcome) for table in tables], axis=0)
    return Effect(target.label, float(values.mean()), mean_interval(values), target.unit, len(values))


def _room(criterion: Criterion, table: CellTable, target: Target) -> bool:
    start = criterion.design.reference(table, target.outcome)
    if start is None or target.limit is None:
        return True
    return (target.limit - start) * target.direction > 2 * target.smallest

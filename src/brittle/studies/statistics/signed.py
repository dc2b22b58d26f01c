"""A two-sided p value that knows its direction, and how several of them make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.errors import UsageError


@dataclass(frozen=True)
class SignedP:
    """A test: `p` two-sided, `statistic` standardised, whose sign says which way."""

    p: float
    statistic: float

    @property
    def sign(self) -> int:
        """+1 rises, -1 falls, 0 neither."""
        return (self.statistic > 0) - (self.statistic < 0)

    def towards(self, direction: int) -> SignedP:
        """The same test, positive when it goes the claimed way (+1 or -1)."""
        return SignedP(self.p, self.statistic * direction)

    def one_sided(self, direction: int) -> float:
        """p against "not in this direction"."""
        if self.sign == 0:
            return max(0.5, 1.0 - self.p / 2)
        return self.p / 2 if self.sign == direction else 1.0 - self.p / 2


def intersection(parts: Sequence[SignedP]) -> SignedP:
    """Intersection-union test (Berger 1982): all parts must go the same way; p is that of the weakest of them.

    `2 min over directions of max over parts of the one-sided p`. Its level holds whatever the dependence of the parts,
    and if only one part is a valid test, it holds still. Parts that disagree about the direction give p = 1.

    Raises:
        UsageError: no parts.
    """
    if not parts:
        raise UsageError("expected at least one test to combine, got none")
    rise, fall = (max(part.one_sided(direction) for part in parts) for direction in (1, -1))
    weakest = min(parts, key=lambda part: abs(part.statistic)).statistic
    sign = (rise < fall) - (fall < rise)
    return SignedP(min(1.0, 2 * min(rise, fall)), sign * abs(weakest) if sign else 0.0)


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjusted p values (Holm 1979): reject where <= alpha, family-wise error <= alpha.

    `max over j <= i of min(1, (m - j + 1) p_(j))` for sorted p; the answer is in the given order.

    Raises:
        UsageError: a p value outside [0, 1] (NaN included).
    """
    if any(not 0 <= value <= 1 for value in p):
        raise UsageError(f"expected p values in [0, 1], got {list(p)}: a claim without a test counts with p = 1")
    adjusted, highest = [0.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return tuple(adjusted)

"""Networks on the picture of size, clean and robust accuracy, and which of them no other one beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from brittle.results.compression import FrontPoint, Scored

PARENT = "parent"


def point(name: str, method: str, keep: float, model: nn.Module, scores: Scored) -> FrontPoint:
    """A network on the picture; whether it is on the front is decided among all of them."""
    return FrontPoint(name, method, keep, sum(p.numel() for p in model.parameters()), scores, False)


def marked(points: Sequence[FrontPoint]) -> tuple[FrontPoint, ...]:
    """The points in their order, `on_front` set: no other is as good in everything and better in something.

    Everything: the number of parameters (fewer is better), clean accuracy, and accuracy under attack at each radius
    that both were scored at.
    """
    return tuple(
        replace(point, on_front=not any(_beats(other, point) for other in points if other is not point))
        for point in points
    )


def _beats(one: FrontPoint, other: FrontPoint) -> bool:
    pairs = [(-one.parameters, -other.parameters), (one.scores.clean, other.scores.clean)]
    theirs = {(r.norm, r.epsilon): r.attacked for r in other.scores.robust}
    pairs += [(r.attacked, theirs[r.norm, r.epsilon]) for r in one.scores.robust if (r.norm, r.epsilon) in theirs]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

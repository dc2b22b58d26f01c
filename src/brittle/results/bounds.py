"""Records about the whole network's bounds."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.results.layer import Status


@dataclass(frozen=True)
class Rung:
    """One bound on the Lipschitz constant from pixels to logits (l_p to l_p), `assumes` in one sentence.

    `value` is None where the rung could not be computed; `assumes` then gives the reason.
    """

    rung: str
    value: float | None
    status: Status
    seconds: float
    assumes: str


@dataclass(frozen=True)
class Ladder:
    """All rungs for one norm, instructive to tight; `best` is the smallest upper bound (None: no global constant)."""

    ladder: tuple[Rung, ...]
    best: float | None


@dataclass(frozen=True)
class Gap:
    """Corollary 3.3 at one radius: F_adv - F measured on n samples (a lower bound of the truth) and the bound on it.

    F is the mean cross-entropy (nats); `bound = epsilon * max over class pairs of the pair's constant`.
    """

    norm: str
    epsilon: float
    measured: float
    bound: float | None
    n: int

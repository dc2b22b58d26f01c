"""What an audit measures and how hard it tries, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from brittle.attacks.table import effort_named
from brittle.errors import UsageError
from brittle.results.robustness import threat_key
from brittle.threats import BALLS, Ball, ball

# Operator norms, bounds and certificates exist for these; attacks know every ball.
AUDITED_NORMS = ("linf", "l2")

# Radii (pixel units) used where none are given: grey images stand more than natural ones.
DEFAULT_EPSILON: dict[str, dict[str, tuple[float, ...]]] = {
    "grey": {"linf": (0.05, 0.1), "l2": (0.5,)},
    "colour": {"linf": (2 / 255, 8 / 255), "l2": (0.25, 0.5)},
}


@dataclass(frozen=True)
class AuditOptions:
    """Options of an audit.

    Attributes:
        norms: the threats' norms, of "linf" and "l2".
        epsilon: radii by norm, pixel units; None takes `DEFAULT_EPSILON` by the number of channels.
        samples: how many test samples are drawn (all where there are fewer); None for all.
        effort: "quick", "standard" or "thorough", see `brittle.attacks.table.EFFORTS`.
        directions: how many sensitive directions are found for each map; 0 for none.
        k_fraction: compressibility is reported at `k = ceil(k_fraction * length)`.
        batch_size: the most inputs the model sees at once.
        seed: of every random choice.
        device: where the model runs.
        dtype: float64, float32, or None: float64 where one input costs at most 5 million multiply-adds.
        max_drop: tolerated drop of robust accuracy, percentage points (the verdict's rule).
        time_limit: seconds after which no further attack batch starts; what is missing is marked.

    Raises:
        UsageError: a value out of range; the message names it.
    """

    norms: tuple[str, ...] = ("linf", "l2")
    epsilon: Mapping[str, Sequence[float]] | None = None
    samples: int | None = 1000
    effort: str = "standard"
    directions: int = 8
    k_fraction: float = 0.1
    batch_size: int = 256
    seed: int = 0
    device: str = "cpu"
    dtype: torch.dtype | None = None
    max_drop: float = 2.0
    time_limit: float | None = None

    def __post_init__(self) -> None:
        for norm in (*self.norms, *(self.epsilon or {})):
            _check_norm(norm)
        for norm, radii in (self.epsilon or {}).items():
            for radius in radii:
                ball(norm, radius)
        effort_named(self.effort)
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"samples must be at least 1, got {self.samples}")
        if not 0 < self.k_fraction <= 1:
            raise UsageError(f"k is a fraction of the layer's rows in (0, 1], got {self.k_fraction!r}")
        if self.directions < 0:
            raise UsageError(f"directions must be at least 0 (none), got {self.directions}")
        if self.batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, got {self.batch_size}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"the seed must be at least 0 and below 2^63, got {self.seed}")
        if not 0 <= self.max_drop < 100:
            raise UsageError(f"max-drop is in percentage points, 0 to 100, got {self.max_drop!r}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(f"the time limit must be a positive number of seconds, got {self.time_limit!r}")
        _check_device(self.device)

    def threats(self, input_shape: tuple[int, ...]) -> tuple[Ball, ...]:
        """The balls to measure, l_inf first, radii ascending; `input_shape` is (channels, height, width) or (d,).

        Raises:
            UsageError: no radius for the norms, or several that results could not tell apart.
        """
        kind = DEFAULT_EPSILON["colour" if len(input_shape) == 3 and input_shape[0] == 3 else "grey"]
        chosen = {
            norm: (self.epsilon or {}).get(norm, kind[norm] if self.epsilon is None else ()) for norm in self.norms
        }
        balls = tuple(ball(norm, radius) for norm, radii in chosen.items() for radius in sorted(set(radii)))
        keys = [threat_key(threat.norm, threat.epsilon) for threat in balls]
        for key in keys:
            if keys.count(key) > 1:
                raise UsageError(f"several radii are {key} to six digits: results could not be told apart, give one")
        if not balls:
            raise UsageError(
                f"no radius given for {' or '.join(self.norms)}: add one, such as epsilon={{'linf': [0.05]}}"
            )
        return balls


def _check_norm(norm: str) -> None:
    if norm not in AUDITED_NORMS:
        why = " (bounds exist for these only; attacks take it)" if norm in BALLS else ""
        raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(AUDITED_NORMS)}{why}")


def _check_device(device: str) -> None:
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"device {device!r} is not available here ({first}): use cpu") from None
    if place.type == "meta":
        raise UsageError("device 'meta' holds no numbers: use cpu")

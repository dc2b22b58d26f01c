"""Learning-rate schedules: the rate of every step, known before the run. Legend: T steps, t a step from 0 to T - 1."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

from brittle.errors import UsageError

# The share of a run in which a rate rises, and how far below the peak the one-cycle schedule starts and ends.
_WARM_UP, _CYCLE_UP, _CYCLE_START, _CYCLE_END = 0.05, 0.3, 25.0, 1e4


def constant(peak: float, steps: int) -> list[float]:
    """`peak`."""
    return [peak] * steps


def cosine(peak: float, steps: int) -> list[float]:
    """`peak (1 + cos(pi t / T)) / 2` (Loshchilov & Hutter 2017, without restarts).

    By the recursion of `torch.optim.lr_scheduler.CosineAnnealingLR`, to the same bits.
    """
    rates = [peak]
    for t in range(1, steps):
        rates.append((1 + cos(pi * t / steps)) / (1 + cos(pi * (t - 1) / steps)) * rates[-1])
    return rates


def step(peak: float, steps: int) -> list[float]:
    """`peak`, a tenth of it from half of the run on, a hundredth from three quarters on."""
    return [peak * 0.1 ** ((2 * t >= steps) + (4 * t >= 3 * steps)) for t in range(steps)]


def warm_cosine(peak: float, steps: int) -> list[float]:
    """Linear from `peak / w` up to `peak` in the first w = 5 % of the steps, then a cosine over the rest."""
    rising = max(1, round(_WARM_UP * steps))
    rise = [peak * (t + 1) / rising for t in range(min(rising, steps))]
    falling = steps - rising
    return rise + [peak * (1 + cos(pi * (t + 1) / (falling + 1))) / 2 for t in range(falling)]


def one_cycle(peak: float, steps: int) -> list[float]:
    """From `peak / 25` up to `peak` in 30 % of the steps, then down to `peak / 25e4`, by cosines (Smith & Topin 2018).

    The rates of `torch.optim.lr_scheduler.OneCycleLR`; the momentum stays as it is.
    """
    start = peak / _CYCLE_START
    end = start / _CYCLE_END
    top, last = _CYCLE_UP * steps - 1, float(steps - 1)

    def rate(t: int) -> float:
        if steps < 2:
            return peak
        if t <= top:
            return peak + (start - peak) / 2 * (1 + cos(pi * t / top)) if top > 0 else peak
        return end + (peak - end) / 2 * (1 + cos(pi * (t - top) / (last - top)))

    return [rate(t) for t in range(steps)]


# Each takes the peak rate and T >= 1, and returns T rates.
SCHEDULES: dict[str, Callable[[float, int], list[float]]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "warm-cosine": warm_cosine,
    "one-cycle": one_cycle,
}


def schedule_named(name: str) -> Callable[[float, int], list[float]]:
    """The schedule called `name` in `SCHEDULES`.

    Raises:
        UsageError: no such schedule.
    """
    if name not in SCHEDULES:
        raise UsageError(f"unknown schedule {name!r}: expected one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name]

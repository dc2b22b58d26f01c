"""The learning rate of a recovery, chosen on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from brittle.training.engine_run import LostRunError
from brittle.training.recovery.budget import Spending, spending

# Three rates for each optimiser, the middle one for budgets too small to try them.
RATES: dict[str, tuple[float, float, float]] = {
    "sgd": (0.01, 0.03, 0.1),
    "momentum": (0.003, 0.01, 0.03),
    "nesterov": (0.003, 0.01, 0.03),
    "adam": (5e-4, 1.5e-3, 5e-3),
    "adamw": (5e-4, 1.5e-3, 5e-3),
    "muon": (0.003, 0.01, 0.03),
}
# A trial's part of the budget, and the fewest steps that say something.
TRIAL_SHARE, TRIAL_STEPS = 0.05, 20


@dataclass(frozen=True)
class Trial:
    """A learning rate, and how the model that it led to was judged (None: its loss was no number)."""

    learning_rate: float
    rank: tuple[float, float] | None
    gradients: float


def choose_rate(
    optimiser: str,
    budget: float,
    cost: float,
    n: int,
    batch_size: int,
    judged: Callable[[float, Spending], tuple[float, float]],
) -> tuple[float, tuple[Trial, ...]]:
    """The best of three rates, by short trials from the same start.

    Each trial has a twentieth of the budget and the whole schedule in it; the best judged one wins, ties to the lower
    rate. The trials are paid from the budget. Where a twentieth is less than 20 steps nothing is tried: the middle one.

    Args:
        optimiser: whose rates.
        budget: gradient evaluations for each training image, of the whole recovery.
        cost: of one sample in one step.
        n: training images.
        batch_size: of a step.
        judged: trains at a rate for so long and says how good the model then is.

    Raises:
        LostRunError: every trial's loss was no number.
    """
    rates = RATES[optimiser]
    if TRIAL_SHARE * budget * n / cost < TRIAL_STEPS * min(batch_size, n):
        return rates[1], ()
    length = spending(TRIAL_SHARE * budget, cost, n, batch_size)
    trials, lost = [], None
    for rate in rates:
        try:
            rank = judged(rate, length)
        except LostRunError as error:
            lost, rank = error, None
        trials.append(Trial(rate, rank, length.gradients))
    best = None
    for trial in trials:
        if trial.rank is not None and (best is None or best.rank is None or trial.rank > best.rank):
            best = trial
    if best is None:
        assert lost is not None
        raise lost
    return best.learning_rate, tuple(trials)

"""A budget in gradient evaluations for each training image, as steps of a run.

Legend: n training images, b samples of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from brittle.errors import UsageError


@dataclass(frozen=True)
class Spending:
    """What a budget pays for.

    Attributes:
        epochs: passes over the training split, the last one begun but perhaps not finished.
        steps: of the optimiser.
        samples: seen in all, each as often as it is seen.
        gradients: evaluations for each training image, at most what was asked for.
    """

    epochs: int
    steps: int
    samples: int
    gradients: float


def spending(budget: float, cost: float, n: int, batch_size: int) -> Spending:
    """As many whole batches as `budget` gradient evaluations for each of n images pay for.

    A step costs `cost` for each sample of its batch (the attack's gradients and the loss's own), so `budget * n / cost`
    samples can be seen. Passes follow each other in new random orders; where the budget ends within a pass, the images
    that come later in its order are not seen in it. A budget below `cost` is less than one pass: a random part of the
    images is seen once. A last batch of one image is left out of every pass, as the engine does.

    Args:
        budget: gradient evaluations for each training image, > 0.
        cost: of one sample in one step, >= 1: `Objective.cost`.
        n: training images.
        batch_size: of a step.

    Raises:
        UsageError: a budget that is no positive number, or too small for a single batch.
    """
    check_budget(budget)
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    if sizes[-1] == 1 < sizes[0]:
        sizes.pop()
    affordable = floor(budget * n / cost * (1 + 1e-12))  # 3 * (1 / 3) must pay for one
    passes, rest = divmod(affordable, sum(sizes))
    started = rest // sizes[0]
    steps = passes * len(sizes) + started
    if steps == 0:
        least = cost * sizes[0] / n
        raise UsageError(
            f"a budget of {budget:g} gradient evaluations for each of {n} images does not pay for one batch of "
            f"{sizes[0]} at {cost:g} a sample: give at least {least:.3g}, or a smaller batch"
        )
    samples = passes * sum(sizes) + started * sizes[0]
    return Spending(passes + (started > 0), steps, samples, cost * samples / n)


def check_budget(budget: float) -> None:
    """Refuse a budget that is no positive number.

    Raises:
        UsageError: with the number that came.
    """
    if not 0 < budget < float("inf"):
        raise UsageError(
            f"a budget is a positive number of gradient evaluations for each training image, got {budget!r}: try 10"
        )

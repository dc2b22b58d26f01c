"""What an epoch leaves in the members' books: a row of the history each, the best epoch so far, patience."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from brittle.results.training import Tracked
from brittle.training.booking import Closing, close_books
from brittle.training.engine_run import Run


def close_epoch(
    runs: Sequence[Run],
    losses: Tensor,
    sizes: Sequence[int],
    scores: Tensor,
    penalties: Sequence[dict[str, float]],
    tracked: Sequence[Tracked | None],
) -> list[bool]:
    """Book a finished epoch; whose weights are the best so far. Members that have stopped stay as they were.

    Args:
        runs: one for each member.
        losses: the objective's means, (steps, M).
        sizes: samples of those steps.
        scores: accuracy and minus the loss on validation, (M, 2).
        penalties: their values, for each member.
        tracked: what was seen, for each member.
    """
    better = []
    for m, run in enumerate(runs):
        run.order = None
        if run.at.stopped:
            better.append(False)
            continue
        run.at.losses = sum(float(loss) * size for loss, size in zip(losses[:, m], sizes, strict=True))
        run.at.samples = sum(sizes)
        accuracy, minus_loss = scores[m].tolist()
        closing = Closing(accuracy, -minus_loss, penalties[m], tracked[m])
        run.rows.append(close_books(run.at, run.plan, run.rates, closing))
        better.append(run.at.best_epoch == run.at.epoch)
    return better

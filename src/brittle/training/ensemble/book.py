"""What an epoch leaves in the members' books: a row of the history each, the best epoch so far, patience."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from brittle.results.training import EpochRow, Tracked
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
        at, score = run.at, (float(scores[m, 0]), float(scores[m, 1]))
        at.epoch += 1
        at.seen += sum(sizes)
        better.append(score > at.best)
        if better[-1]:
            at.best, at.best_epoch = score, at.epoch
        at.waited = 0 if -score[1] < at.lowest else at.waited + 1
        at.lowest = min(at.lowest, -score[1])
        patience = run.plan.dynamics.patience
        at.stopped = patience is not None and at.waited >= patience
        total = sum(float(loss) * size for loss, size in zip(losses[:, m], sizes, strict=True))
        row = EpochRow(
            epoch=at.epoch,
            steps=at.step,
            gradients=run.plan.objective.cost * at.seen,
            learning_rate=run.rates[at.step - 1],
            loss=total / sum(sizes),
            penalties=penalties[m],
            validation_loss=-score[1],
            validation_accuracy=score[0],
            tracked=tracked[m],
        )
        run.rows.append(row)
    return better

"""The encoder on another task: frozen, with a linear head fitted there."""

from __future__ import annotations

from brittle.errors import UsageError
from brittle.evaluation.accuracy import clean_right
from brittle.studies.measures.accuracy import scored_under
from brittle.studies.measures.scene import BATCH, Reading, Scene
from brittle.training.transfer import transfer


def transferred(scene: Scene) -> Reading:
    """ "transfer.clean", "transfer.robust.linf@0.05" and "transfer.ratio.linf@0.05" on the task `trial.transfer`.

    The head is fitted on that task's training samples; its test samples score.

    Raises:
        UsageError: a trial without `transfer`.
    """
    if scene.trial.transfer is None:
        raise UsageError("the measure transfer needs the trial's field transfer: give a DATA string of another task")
    task = scene.task_named(scene.trial.transfer)
    there = task.learning
    net = transfer(scene.net, there.train, there.validation, classes=there.classes, seed=scene.trial.seed)
    right, _ = clean_right(net, task.test.x, task.test.y, BATCH)
    scored = scored_under(net, task.test, scene.threats.items(), scene.trial.seed)
    numbers = {"clean": int(right.sum()) / len(right), **scored.numbers}
    arrays = {"clean": right.cpu().numpy().copy(), **scored.arrays}
    return Reading(
        {f"transfer.{name}": value for name, value in numbers.items()},
        {f"transfer.{name}": array for name, array in arrays.items()},
    )

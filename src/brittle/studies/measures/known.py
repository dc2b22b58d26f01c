"""What the most accurate classifier of a made task would reach, from a formula."""

from __future__ import annotations

from brittle.studies.measures.scene import Reading, Scene
from brittle.studies.synthetic import known_of


def known(scene: Scene) -> Reading:
    """ "known.clean", and for each threat "known.linf@0.01": exact accuracies of the task's most accurate classifier.

    Not an upper bound under attack: a less accurate classifier may be more robust.

    Raises:
        UsageError: a task for which there is no formula.
    """
    problem = known_of(scene.trial.data.removeprefix("synthetic:"))
    numbers = {f"known.{key}": problem.known_accuracy(threat) for key, threat in scene.threats.items()}
    return Reading({"known.clean": problem.known_accuracy(None), **numbers})

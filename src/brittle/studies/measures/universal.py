"""One perturbation for all inputs: fitted on training samples, scored on test samples."""

from __future__ import annotations

from typing import Final

from brittle.attacks.universal import SteepestAscent, fit_universal
from brittle.attacks.universal_start import RandomStart, ZeroStart
from brittle.evaluation.fooling import fooling, predictions
from brittle.studies.measures.scene import BATCH, Reading, Scene

_FIT: Final = 300
_METHOD: Final = SteepestAscent(steps=100, starts=(ZeroStart(), RandomStart()))


def universal(scene: Scene) -> Reading:
    """For each threat "universal.linf@0.05", the held-out fooling rate: the share of test predictions it changes.

    "universal_random.linf@0.05" is the mean of ten random perturbations of equal length, "universal_lift.linf@0.05"
    the difference. Fitted on at most 300 training samples without their labels.
    """
    fit = scene.task.learning.train.take(_FIT, scene.trial.data_seed)
    leave = predictions(scene.net, fit.x, fit.y, BATCH)
    numbers: dict[str, float] = {}
    for key, threat in scene.threats.items():
        seed = scene.trial.seed
        delta = fit_universal(scene.net, fit.x, leave, threat, method=_METHOD, seed=seed, batch_size=BATCH)
        found = fooling(
            scene.net,
            scene.test.x,
            scene.test.y,
            delta,
            threat,
            held_out=True,
            fitted=len(fit),
            batch_size=BATCH,
            seed=seed,
        )
        numbers[f"universal.{key}"] = found.fooling_rate
        numbers[f"universal_random.{key}"] = found.control
        numbers[f"universal_lift.{key}"] = found.fooling_rate - found.control
    return Reading(numbers)

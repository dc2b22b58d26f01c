"""Clean accuracy, and accuracy under the studies' cascade of attacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from numpy.typing import NDArray
from torch import Tensor, nn

from brittle.attacks.apgd import APGD
from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.data.split import Split
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.studies.measures.scene import BATCH, Reading, Scene
from brittle.threats import Ball

# The standard cascade at the length of a study: each attack meets what stood up to those before it.
ATTACKS: Final[tuple[Attack, ...]] = (PGD(steps=20), APGD(steps=20), APGD(steps=20, loss="dlr"))


def clean(scene: Scene) -> Reading:
    """ "clean": the share of test samples classified correctly, their mask in the array "clean"."""
    right, _ = clean_right(scene.net, scene.test.x, scene.test.y, BATCH)
    return Reading({"clean": _mean(right)}, {"clean": _mask(right)})


def robust(scene: Scene) -> Reading:
    """For each threat "robust.linf@0.05", the share that stood up to all attacks, and "ratio.linf@0.05".

    The ratio is robust over clean accuracy, 0 where nothing is right. Masks are in arrays of the first name.
    """
    return scored_under(scene.net, scene.test, scene.threats.items(), scene.trial.seed)


def scored_under(net: nn.Module, test: Split, threats: Iterable[tuple[str, Ball]], seed: int) -> Reading:
    """Names as in `robust`, of any network on any samples."""
    numbers: dict[str, float] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for key, threat in threats:
        after = attack_survivors(net, test.x, test.y, threat, ATTACKS, batch_size=BATCH, seed=seed)
        right = _mean(after.right)
        numbers[f"robust.{key}"] = _mean(after.survived)
        numbers[f"ratio.{key}"] = _mean(after.survived) / right if right > 0 else 0.0
        arrays[f"robust.{key}"] = _mask(after.survived)
    return Reading(numbers, arrays)


def _mean(mask: Tensor) -> float:
    return int(mask.sum()) / len(mask)


def _mask(mask: Tensor) -> NDArray[Any]:
    return mask.cpu().numpy().copy()

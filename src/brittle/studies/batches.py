"""Which trials can be run together: those whose networks `training.ensemble` may train at once.

Trained together, a network becomes what it would be alone up to rounding of its sums, not bit by bit; over a whole run
rounding can grow to another trajectory of the same distribution. So the engine does it only when asked to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final

from brittle.studies.trial import Trial

# One group is one job and one transaction: large enough for batched products, small enough to lose little by a kill.
MOST: Final = 30
# Sources whose networks have the architecture and the objective of others but for one number.
_NUMBER: Final = {"penalty": "strength"}
# A dynamics source of another value of this setting goes with the others; other settings change the steps themselves.
_RATE: Final = "learning_rate"
# Made from a trained network afterwards, so what is trained at once is not the trial's own network.
_ALONE: Final = ("post-hoc", "intervention", "spectrum", "scale")


def groups(trials: Sequence[Trial], most: int = MOST) -> tuple[tuple[Trial, ...], ...]:
    """Trials that differ only in seed, penalty strength or learning rate together, in parts of nearly equal size.

    The groups are a function of the sequence alone; each trial is in exactly one, and the order is kept inside a group
    and of the groups' first members. Trials of adversarial training or of a source made after training stay alone.

    Args:
        trials: different ones.
        most: largest size of a group, >= 1.
    """
    alike: dict[str, list[Trial]] = {}
    for i, trial in enumerate(trials):
        alike.setdefault(_shared(trial) or f"alone {i}", []).append(trial)
    parts = []
    for members in alike.values():
        count = -(-len(members) // most)
        bounds = [len(members) * j // count for j in range(count + 1)]
        parts += [tuple(members[a:b]) for a, b in itertools.pairwise(bounds)]
    return tuple(parts)


def _shared(trial: Trial) -> str:
    """What all members of the trial's group have in common, as text; empty for a trial that stays alone."""
    config: dict[str, Any] = trial.model_dump(mode="json")
    source = config["source"]
    if source["kind"] in _ALONE or trial.training.adversarial != "none":
        return ""
    del config["seed"]
    del config["training"]["learning_rate"]
    if source["kind"] in _NUMBER:
        del source[_NUMBER[source["kind"]]]
    if source["kind"] == "dynamics":
        if source["setting"] != _RATE:
            return json.dumps(config, sort_keys=True)
        config["source"] = {"kind": "dense"}  # the same network and objective at another rate
    return json.dumps(config, sort_keys=True)

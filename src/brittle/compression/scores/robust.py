"""First-order importance for the adversarial loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.compression.couplings.coupling import Coupling
from brittle.compression.protocols import Evidence
from brittle.compression.scores.taylor import first_order
from brittle.errors import UsageError
from brittle.evaluation.batches import prepare

# Steps of the attack, and samples attacked at once (no number depends on it).
STEPS, _BATCH = 10, 256


def robust(model: nn.Module, couplings: Sequence[Coupling], evidence: Evidence) -> Mapping[str, Tensor]:
    """As `taylor`, at inputs attacked within `evidence.threat`: ten steps of Auto-PGD on the cross-entropy.

    By Danskin's theorem the gradient of the adversarial loss by the weights is the plain one at the worst inputs. The
    attack goes on after a sample is misclassified. (u,) float64 by coupling.

    Raises:
        UsageError: evidence without a threat, or pixels in another format than float32 or float64.
        ModelError, DataError: as `taylor`, or samples that are no pixels with labels.
    """
    if evidence.threat is None:
        raise UsageError("robust scores need a threat to defend against: give a norm and a radius")
    positions = prepare(evidence.x, evidence.y, None, _BATCH)
    attack = WorstCase(APGD(STEPS))
    x_adv = evidence.x.clone()
    for rows in positions.split(_BATCH):
        x_adv[rows] = attack(
            model, evidence.x[rows], evidence.y[rows], evidence.threat, indices=rows, seed=evidence.seed
        )
    return first_order(model, couplings, x_adv.to(evidence.x), evidence.y)

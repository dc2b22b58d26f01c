"""How good a network is on samples that plans are made from: cheap, the same for every candidate.

Legend: n samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brittle.attacks.apgd import APGD, WorstCase
from brittle.attacks.gradient import direction, evaluate, input_gradient
from brittle.attacks.losses import cross_entropy
from brittle.attacks.room import search_room
from brittle.compression.protocols import Evidence
from brittle.evaluation.accuracy import clean_right
from brittle.models.frozen import frozen
from brittle.threats import Ball

# The parent's own attack, and how a candidate's goes on from there.
PARENT_STEPS, STEPS, STEP_SIZE = 10, 4, 0.25


@dataclass(frozen=True)
class Standing:
    """Mean cross-entropy (nats) and accuracy on n samples, clean and under the attack of `Bench`.

    Without a threat the robust numbers are the clean ones.
    """

    clean_loss: float
    clean: float
    robust_loss: float
    robust: float

    def loss(self, share: float) -> float:
        """`(1 - share) * clean_loss + share * robust_loss`."""
        return (1 - share) * self.clean_loss + share * self.robust_loss


@dataclass(frozen=True, eq=False)
class Bench:
    """Samples to measure candidates on, with adversarial examples of the parent where there is a threat.

    A candidate is attacked by a few steps of PGD on the cross-entropy that begin at the parent's adversarial example of
    the sample. The worst of the clean sample, that example and the points on the way counts: both the parent's
    weaknesses and the candidate's own are met, at few gradients.

    Attributes:
        x: pixels (n, *shape).
        y: labels (n,).
        x_adv: the parent's adversarial examples (n, *shape); None without a threat.
        threat: the ball; None for clean measures only.
        batch_size: samples passed at once.
        steps: gradients of each candidate's attack.
    """

    x: Tensor
    y: Tensor
    x_adv: Tensor | None
    threat: Ball | None
    batch_size: int
    steps: int = STEPS

    def measure(self, model: nn.Module) -> Standing:
        """The model's standing; the model is left as it was.

        Raises:
            ModelError: logits that are not finite scores, or no gradient at the pixels.
        """
        right, logits = clean_right(model, self.x, self.y, self.batch_size)
        losses = cross_entropy(logits, self.y)
        clean_loss, clean = float(losses.double().mean()), float(right.double().mean())
        if self.threat is None or self.x_adv is None:
            return Standing(clean_loss, clean, clean_loss, clean)
        worst, stands = losses.clone(), right.clone()
        with frozen(model):
            for part in torch.arange(len(self.x), device=self.x.device).split(self.batch_size):
                found, broken = _climb(model, self.x[part], self.y[part], self.x_adv[part], self.threat, self.steps)
                worst[part] = torch.maximum(worst[part], found.to(worst))
                stands[part] &= ~broken
        return Standing(clean_loss, clean, float(worst.double().mean()), float(stands.double().mean()))

    def part(self, first: int, last: int) -> Bench:
        """The bench with the samples first ... last - 1 alone."""
        x_adv = None if self.x_adv is None else self.x_adv[first:last]
        return Bench(self.x[first:last], self.y[first:last], x_adv, self.threat, self.batch_size, self.steps)


def bench(parent: nn.Module, evidence: Evidence, *, batch_size: int, steps: int = STEPS) -> Bench:
    """The bench of a parent on all samples of the evidence; its attack takes 10 gradients a sample.

    Raises:
        UsageError, DataError, ModelError: evidence that is no pixels with labels, or a parent that cannot be attacked.
    """
    x_adv = None if evidence.threat is None else adversarial(parent, evidence, batch_size=batch_size)
    return Bench(evidence.x, evidence.y, x_adv, evidence.threat, batch_size, steps)


def adversarial(parent: nn.Module, evidence: Evidence, *, batch_size: int) -> Tensor:
    """Adversarial examples (n, *shape) of the parent: the largest cross-entropy that 10 steps of Auto-PGD find.

    Raises:
        UsageError, DataError, ModelError: as `bench`.
    """
    assert evidence.threat is not None
    attack = WorstCase(APGD(PARENT_STEPS))
    rows = torch.arange(len(evidence.x), device=evidence.x.device)
    return torch.cat(
        [
            attack(parent, evidence.x[p], evidence.y[p], evidence.threat, indices=rows[p], seed=evidence.seed)
            for p in rows.split(batch_size)
        ]
    )


def _climb(model: nn.Module, x: Tensor, y: Tensor, start: Tensor, threat: Ball, steps: int) -> tuple[Tensor, Tensor]:
    """Largest loss (b,) met from `start` on, and whether a point on the way was misclassified (b,)."""
    room, point = search_room(threat, x), start
    worst, broken = x.new_full((len(x),), -torch.inf), torch.zeros_like(y, dtype=torch.bool)
    for step in range(steps + 1):
        if step == steps:
            logits, values = evaluate(model, point, y, cross_entropy)
        else:
            logits, values, gradient = input_gradient(model, point, y, cross_entropy)
            move = STEP_SIZE * room.epsilon * room.steepest(direction(gradient))
            point = room.project(x, point + move)
        worst, broken = torch.maximum(worst, values.to(worst)), broken | (logits.argmax(1) != y)
    return worst, broken

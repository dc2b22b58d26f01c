"""How good a model is on the validation split: what the best epoch is chosen by."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import nn

from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.intervals import wilson
from brittle.results.training import TrackedAccuracy
from brittle.threats import Ball
from brittle.training.looks import accuracies_alone
from brittle.training.protocols import Judged

_BATCH = 500


@dataclass(frozen=True)
class CleanJudge:
    """The engine's own rule as a judge: the highest accuracy on the whole split, ties to the lower cross-entropy."""

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Judged:
        """Rank (accuracy, minus the loss); patience watches the loss. Nothing is drawn at random."""
        like = next(model.parameters())
        x, y = validation.x.to(like), validation.y.to(like.device)
        right, logits = clean_right(model, x, y, _BATCH)
        loss = float(F.cross_entropy(logits, y).double())
        return Judged((float(right.double().mean()), -loss), loss)


@dataclass(frozen=True)
class RobustJudge:
    """The highest accuracy under a short attack on a random part of the split, ties to the higher clean accuracy there.

    With a weight w of clean accuracy: the highest `(1 - w) attacked + w clean`.

    Attributes:
        threat: the ball of the attack.
        attack: on the same samples each time, from the same random starts.
        samples: at most so many of the validation split.
        clean: w, in [0, 1].

    Raises:
        UsageError: fewer than one sample, or a weight out of its range.
    """

    threat: Ball
    attack: Attack = field(default_factory=lambda: PGD(steps=10))
    samples: int = 1000
    clean: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(f"a judge needs at least 1 validation sample, got {self.samples!r}")
        if not 0 <= self.clean <= 1:
            raise UsageError(f"the weight of clean accuracy lies in [0, 1], got {self.clean!r}: 0 leaves it out")

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Judged:
        """Rank (the weighted accuracy, clean accuracy); patience watches what the first lacks of 1."""
        part = validation.take(self.samples, seed)
        like = next(model.parameters())
        x, y = part.x.to(like), part.y.to(like.device)
        after = attack_survivors(model, x, y, self.threat, (self.attack,), batch_size=_BATCH, seed=seed)
        clean = float(clean_right(model, x, y, _BATCH)[0].double().mean())
        seen = TrackedAccuracy(
            norm=self.threat.norm,
            epsilon=self.threat.epsilon,
            attack=self.attack.name,
            accuracy=after.accuracy,
            interval95=wilson(int(after.survived.sum()), len(part)),
        )
        weighted = (1 - self.clean) * after.accuracy + self.clean * clean
        return Judged((weighted, clean), 1 - weighted, accuracies_alone(len(part), clean, (seen,)))

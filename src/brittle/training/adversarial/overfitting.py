"""Catastrophic overfitting of single-step training: one step finds few errors any more, several steps find them all.

Seen and named by Wong et al. 2020. It happens within a few steps of training, and the training loss does not show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from brittle.attacks.pgd import PGD
from brittle.attacks.protocol import Attack
from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.accuracy import attack_survivors, clean_right
from brittle.evaluation.intervals import wilson
from brittle.results.audit import Check
from brittle.results.training import Tracked, TrackedAccuracy
from brittle.threats import Ball
from brittle.training.adversarial.inner import check_step, check_threat
from brittle.training.looks import accuracies_alone
from brittle.training.protocols import Watch

_NAME = "catastrophic overfitting"
_REMEDY = "train with several steps (PGDTraining), a shorter step or a smaller radius, or keep an earlier epoch"
# One step must leave more than this part of the clean accuracy: where it finds most errors it is not what is misled.
_STANDS = 0.5
# Several steps must leave less than this part of what one step leaves, the ends of both intervals compared.
_COLLAPSED = 0.5


@dataclass(frozen=True)
class OverfittingWatch:
    """Attacks validation samples with the single step that training uses and with several, between epochs.

    A `Watch` for `engine.train(track=...)`. The two accuracies stand in `Tracked.attacked`; `overfitting` reads them.
    With `stop` the run ends at the first collapse: the epoch that shows it is not booked, and the model has the best
    weights of the epochs before.

    Attributes:
        threat: the ball of the training.
        also: what else to watch, such as a `Tracker`: its record, with the two accuracies added. Where there is none,
            the record has no layers.
        every: epochs between two looks.
        samples: of the validation split, the same ones each time.
        step_size: of the single step, as a multiple of epsilon, from a random start as in `FastTraining`.
        several: the attack of several steps.
        batch_size: the most samples the model sees at once.
        stop: whether a collapse ends the run.

    Raises:
        UsageError: a ball, step or number that cannot be used.
    """

    threat: Ball
    also: Watch | None = None
    every: int = 1
    samples: int = 200
    step_size: float = 1.25
    several: Attack = field(default_factory=lambda: PGD(steps=10))
    batch_size: int = 200
    stop: bool = True

    def __post_init__(self) -> None:
        check_threat(self.threat)
        check_step(self.step_size)
        if self.every < 1 or self.samples < 1 or self.batch_size < 1:
            raise UsageError(
                "an overfitting watch needs every, samples and batch_size >= 1, got "
                f"{self.every}, {self.samples} and {self.batch_size}"
            )
        if self.several.cost < 2:
            raise UsageError(
                f"an overfitting watch compares one step with several, got {self.several.name} of "
                f"{self.several.cost:g} gradient: give an attack of at least 2, such as PGD(steps=10)"
            )

    @property
    def single(self) -> Attack:
        """The step that training uses."""
        return PGD(steps=1, step_size=self.step_size, loss="ce")

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Tracked:
        """What it sees; the model is left as it was.

        Raises:
            UsageError: the net has collapsed, and `stop` is set.
        """
        part = validation.take(self.samples, seed)
        like = next(model.parameters())
        here = Split(part.x.to(like), part.y.to(like.device))
        right, _ = clean_right(model, here.x, here.y, self.batch_size)
        pair = tuple(self._attacked(model, here, attack, seed) for attack in (self.single, self.several))
        seen = accuracies_alone(len(here), float(right.double().mean()), pair)
        if self.stop:
            found = overfitting([seen], int(here.y.bincount().max()) / len(here))
            if found.verdict == "problem":
                raise UsageError(f"{_NAME}: {found.advice}")
        if self.also is None:
            return seen
        other = self.also(model, validation, seed=seed)
        return replace(other, attacked=(*other.attacked, *pair))

    def _attacked(self, model: nn.Module, part: Split, attack: Attack, seed: int) -> TrackedAccuracy:
        found = attack_survivors(model, part.x, part.y, self.threat, (attack,), batch_size=self.batch_size, seed=seed)
        return TrackedAccuracy(
            norm=self.threat.norm,
            epsilon=self.threat.epsilon,
            attack=attack.name,
            accuracy=found.accuracy,
            interval95=wilson(int(found.survived.sum()), len(part)),
        )


def overfitting(seen: Sequence[Tracked], chance: float) -> Check:
    """Whether one of the looks shows catastrophic overfitting: a finding that names the last such look and its numbers.

    A look shows it where the net is right more often than by chance, one step leaves more than half of the clean
    accuracy, and several steps leave less than half of what one step leaves; the first and the last must hold at the
    ends of 95 % intervals. Nets that are not robust at all do not meet the second condition. Looks without both
    accuracies at one norm and radius are passed over.

    Args:
        seen: in the order of training, for example the `tracked` of a history's rows that have one.
        chance: the accuracy of a net that has learnt nothing, a fraction: the share of the most frequent class.

    Raises:
        UsageError: none of the looks has both accuracies, or a chance outside [0, 1].
    """
    if not 0 <= chance <= 1:
        raise UsageError(f"chance is an accuracy in [0, 1], got {chance!r}: give 1 / classes for balanced data")
    looks = [(tracked, single, several) for tracked in seen for single, several in _pairs(tracked)]
    if not looks:
        raise UsageError(
            "expected accuracies under a single step and under several, got none: track an OverfittingWatch"
        )
    bad = [look for look in looks if _collapsed(*look, chance)]
    _, single, several = bad[-1] if bad else looks[-1]
    numbers = (
        f"at {single.norm} {single.epsilon:g} a single step leaves {100 * single.accuracy:.0f} % of the validation "
        f"samples right, {several.attack} {100 * several.accuracy:.0f} %"
    )
    return Check(_NAME, "problem", f"{numbers}: {_REMEDY}") if bad else Check(_NAME, "ok", numbers)


def _collapsed(tracked: Tracked, single: TrackedAccuracy, several: TrackedAccuracy, chance: float) -> bool:
    learnt = wilson(round(tracked.clean * tracked.n), tracked.n)[0] > chance
    stands = single.accuracy > _STANDS * tracked.clean
    return learnt and stands and several.interval95[1] < _COLLAPSED * single.interval95[0]


def _pairs(tracked: Tracked) -> list[tuple[TrackedAccuracy, TrackedAccuracy]]:
    """A single step beside the strongest other attack of the same ball."""
    name = PGD(steps=1, loss="ce").name
    pairs = []
    for single in tracked.attacked:
        others = [
            a for a in tracked.attacked if a.attack != name and (a.norm, a.epsilon) == (single.norm, single.epsilon)
        ]
        if single.attack == name and others:
            pairs.append((single, min(others, key=lambda a: a.accuracy)))
    return pairs

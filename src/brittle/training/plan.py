"""A training run as data: everything its course depends on but the model, the samples and the seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from brittle.errors import UsageError
from brittle.training.objective import CrossEntropy
from brittle.training.optimisers import optimiser_named
from brittle.training.protocols import Hold, Judge, Objective
from brittle.training.schedules import schedule_named


@dataclass(frozen=True)
class HeavyTails:
    """Alpha-stable noise added to every gradient entry: `scale * S(alpha)`, alpha in (0, 2], 2 is Gaussian.

    Raises:
        UsageError: alpha outside (0, 2], or a negative scale.
    """

    alpha: float
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 2 or not 0 <= self.scale < float("inf"):
            raise UsageError(
                f"gradient noise needs alpha in (0, 2] and a scale >= 0, got {self.alpha!r} and {self.scale!r}"
            )


@dataclass(frozen=True)
class Dynamics:
    """How the weights move.

    Attributes:
        epochs: passes over the training split, at most.
        batch_size: samples of a step.
        optimiser: a name in `OPTIMISERS`.
        learning_rate: its peak.
        weight_decay: decoupled where the optimiser knows how.
        momentum: of the optimisers that have one.
        schedule: a name in `SCHEDULES`.
        label_noise: share of training labels replaced by another class, fixed for the run.
        gradient_noise: heavy-tailed noise on the gradients; None for none.
        patience: epochs without a better validation loss after which training stops; None: never.
        clip: largest gradient norm (all parameters together, after the noise); None: any.
        steps: steps after which the run ends, within an epoch too, which then counts as one: the schedule falls to its
            end by then. None: after `epochs`.

    Raises:
        UsageError: a number out of its range, or an unknown optimiser or schedule.
    """

    epochs: int
    batch_size: int = 64
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: str = "cosine"
    label_noise: float = 0.0
    gradient_noise: HeavyTails | None = None
    patience: int | None = None
    clip: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(f"epochs and batch size must be at least 1, got {self.epochs} and {self.batch_size}")
        if not 0 < self.learning_rate < float("inf") or not 0 <= self.weight_decay < float("inf"):
            raise UsageError(
                f"the learning rate must be > 0 and weight decay >= 0, got {self.learning_rate} and {self.weight_decay}"
            )
        optimiser_named(self.optimiser)
        schedule_named(self.schedule)
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum must lie in [0, 1), got {self.momentum!r}: 0.9 is usual")
        if not 0 <= self.label_noise < 1:
            raise UsageError(f"label noise is a share of the labels in [0, 1), got {self.label_noise!r}")
        if self.patience is not None and self.patience < 1:
            raise UsageError(
                f"patience must be at least 1 epoch, got {self.patience!r}: leave it out to train to the end"
            )
        if self.clip is not None and not (isfinite(self.clip) and self.clip > 0):
            raise UsageError(
                f"the largest gradient norm must be a positive number, got {self.clip!r}: leave it out for any"
            )
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps must be at least 1, got {self.steps!r}: leave it out to train for all epochs")


@dataclass(frozen=True)
class Weighted:
    """A penalty of `PENALTIES` by name, with its strength; `proximal`: as a step of its own after each step."""

    name: str
    strength: float
    proximal: bool = False


@dataclass(frozen=True)
class Plan:
    """A training run.

    Attributes:
        dynamics: how the weights move.
        objective: what a step minimises on its samples.
        penalties: what is added, for the weights that `layers` chooses.
        layers: patterns of layer names (`fnmatch`); None for the paper's choice: all but the head and the first
            convolution.
        hold_scale: project each chosen layer back to the Frobenius norm it started with, after every step.
        holds: what else is kept true after every step, in this order, before the scale: see `held`.
        judge: says which epoch is best; None: the highest accuracy on validation, ties to the lower loss.

    Raises:
        UsageError: a negative strength or a penalty given twice.
    """

    dynamics: Dynamics
    objective: Objective = field(default_factory=CrossEntropy)
    penalties: tuple[Weighted, ...] = ()
    layers: tuple[str, ...] | None = None
    hold_scale: bool = False
    holds: tuple[Hold, ...] = ()
    judge: Judge | None = None

    def __post_init__(self) -> None:
        names = [penalty.name for penalty in self.penalties]
        for penalty in self.penalties:
            if not 0 <= penalty.strength < float("inf"):
                raise UsageError(f"penalty {penalty.name}: the strength must be >= 0, got {penalty.strength!r}")
            if names.count(penalty.name) > 1:
                raise UsageError(f"penalty {penalty.name} is given twice: give it once, with one strength")

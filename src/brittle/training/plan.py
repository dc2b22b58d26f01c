"""A training run as data: everything its course depends on but the model, the samples and the seed."""

from __future__ import annotations

from dataclasses import dataclass, field

from brittle.errors import UsageError
from brittle.training.objective import CrossEntropy
from brittle.training.protocols import Objective


@dataclass(frozen=True)
class HeavyTails:
    """Alpha-stable noise added to every gradient entry: `scale * S(alpha)`, alpha in (0, 2], 2 is Gaussian."""

    alpha: float
    scale: float


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
        clip: largest gradient norm; None: any.
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

    Raises:
        UsageError: a negative strength or a penalty given twice.
    """

    dynamics: Dynamics
    objective: Objective = field(default_factory=CrossEntropy)
    penalties: tuple[Weighted, ...] = ()
    layers: tuple[str, ...] | None = None
    hold_scale: bool = False

    def __post_init__(self) -> None:
        names = [penalty.name for penalty in self.penalties]
        for penalty in self.penalties:
            if not 0 <= penalty.strength < float("inf"):
                raise UsageError(f"penalty {penalty.name}: the strength must be >= 0, got {penalty.strength!r}")
            if names.count(penalty.name) > 1:
                raise UsageError(f"penalty {penalty.name} is given twice: give it once, with one strength")

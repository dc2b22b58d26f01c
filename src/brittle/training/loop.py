"""Plain training: cross-entropy by AdamW with a cosine schedule, the best epoch chosen on the validation split."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from brittle.data.split import Split
from brittle.evaluation.progress import Progress
from brittle.training.engine import train as train_by_plan
from brittle.training.plan import Dynamics, Plan


@dataclass(frozen=True)
class Budget:
    """How long and how fast: `epochs` passes over the training split, peak learning rate, weight decay.

    Raises:
        UsageError: a number out of its range.
    """

    epochs: int
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        self.dynamics()

    def dynamics(self) -> Dynamics:
        """The same for the engine."""
        return Dynamics(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )


def fit(
    model: nn.Module,
    train: Split,
    validation: Split,
    budget: Budget,
    *,
    seed: int,
    progress: Progress | None = None,
) -> nn.Module:
    """Train `model` in place and return it in eval mode, with the weights of its best epoch on `validation`.

    The best epoch is the one with the highest validation accuracy, ties to the lower loss. The model stays on its
    device and in its number format. The same seed on the same machine gives the same weights, dropout included; the
    global random state is left as it was. `engine.train` does more.

    Raises:
        ModelError: a model without parameters, or that does not take the samples.
        DataError: labels beyond the model's classes.
        UsageError: the loss stopped being a number; the message says at which step. The model then has the weights of
            its best epoch so far.
    """
    return train_by_plan(model, train, validation, Plan(budget.dynamics()), seed=seed, progress=progress).model

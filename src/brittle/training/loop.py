"""The training loop: cross-entropy by AdamW with a cosine schedule, the best epoch chosen on the validation split."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from brittle.data.split import Split
from brittle.errors import UsageError
from brittle.evaluation.progress import Progress


@dataclass(frozen=True)
class Budget:
    """How long and how fast: `epochs` passes over the training split, peak learning rate, weight decay."""

    epochs: int
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError(f"epochs and batch size must be at least 1, got {self.epochs} and {self.batch_size}")
        if not 0 < self.learning_rate < float("inf") or not 0 <= self.weight_decay < float("inf"):
            raise UsageError(
                f"the learning rate must be > 0 and weight decay >= 0, got {self.learning_rate} and {self.weight_decay}"
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

    The best epoch is the one with the highest validation accuracy, ties to the lower loss. The same seed on the same
    machine gives the same weights.

    Raises:
        UsageError: the loss stopped being a number; the message says at which epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay)
    batches = -(-len(train) // budget.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, budget.epochs * batches)
    best: tuple[float, float] = (-1.0, 0.0)
    weights = copy.deepcopy(model.state_dict())
    for epoch in range(budget.epochs):
        model.train()
        for chosen in torch.randperm(len(train), generator=generator).split(budget.batch_size):
            loss = F.cross_entropy(model(train.x[chosen]), train.y[chosen])
            if not torch.isfinite(loss):
                raise UsageError(
                    f"the loss is {loss.item()} in epoch {epoch + 1} of {budget.epochs}: lower the learning rate "
                    f"({budget.learning_rate:g})"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        score = _score(model, validation)
        if score > best:
            best, weights = score, copy.deepcopy(model.state_dict())
        if progress is not None:
            progress("training", epoch + 1, budget.epochs)
    model.load_state_dict(weights)
    return model.eval()


def _score(model: nn.Module, split: Split) -> tuple[float, float]:
    """Accuracy and minus the mean loss: larger is better."""
    model.eval()
    with torch.no_grad():
        logits = model(split.x)
        return float((logits.argmax(1) == split.y).double().mean()), -float(F.cross_entropy(logits, split.y))

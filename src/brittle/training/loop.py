"""The training loop: cross-entropy by AdamW with a cosine schedule, the best epoch chosen on the validation split."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.evaluation.progress import Progress

# Validation samples that the model sees at once.
_SCORED = 1000


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

    The best epoch is the one with the highest validation accuracy, ties to the lower loss. The model stays on its
    device and in its number format. The same seed on the same machine gives the same weights, dropout included; the
    global random state is left as it was.

    Raises:
        ModelError: a model without parameters.
        UsageError: the loss stopped being a number; the message says at which epoch. The model then has the weights of
            its best epoch so far.
    """
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ModelError("the model has no parameters: nothing to train")
    generator = torch.Generator().manual_seed(seed)
    weights = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, budget.epochs * -(-len(train) // budget.batch_size)
    )
    best: tuple[float, float] = (-1.0, 0.0)
    with _dropout_from(seed, parameter.device):
        try:
            for epoch in range(budget.epochs):
                model.train()
                for chosen in _batches(len(train), budget.batch_size, generator):
                    x, y = train.x[chosen].to(parameter), train.y[chosen].to(parameter.device)
                    loss = F.cross_entropy(model(x), y)
                    _check_finite(loss.item(), epoch, budget)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                    schedule.step()
                score = _score(model, validation, parameter)
                _check_finite(score[1], epoch, budget)
                if score > best:
                    best, weights = score, copy.deepcopy(model.state_dict())
                if progress is not None:
                    progress("training", epoch + 1, budget.epochs)
        finally:
            model.load_state_dict(weights)
            optimiser.zero_grad(set_to_none=True)
            model.eval()
    return model


@contextmanager
def _dropout_from(seed: int, device: torch.device) -> Iterator[None]:
    """Layers that draw random numbers take them from the global state: seed it, and put it back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def _batches(n: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """A random order in batches; a last batch of one is left out, as batch norm cannot train on it."""
    batches = torch.randperm(n, generator=generator).split(batch_size)
    return [batch for batch in batches if len(batch) > 1] or list(batches)


def _check_finite(loss: float, epoch: int, budget: Budget) -> None:
    if not isfinite(loss):
        raise UsageError(
            f"the loss is {abs(loss)} in epoch {epoch + 1} of {budget.epochs}: lower the learning rate "
            f"({budget.learning_rate:g})"
        )


def _score(model: nn.Module, split: Split, like: Tensor) -> tuple[float, float]:
    """Accuracy and minus the mean loss: larger is better."""
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(x.to(like)).cpu() for x in split.x.split(_SCORED)])
        return float((logits.argmax(1) == split.y).double().mean()), -float(F.cross_entropy(logits, split.y))

"""The roles in training: what a step minimises, and what is added to it.

Legend: b samples of a batch, h neurons, d fan-in; a leading M counts the members of an ensemble that train at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.results.training import Tracked


class Stateful(Protocol):
    """Something that a checkpoint must remember to go on exactly."""

    def state(self) -> dict[str, Tensor]:
        """Everything the next call depends on; empty for most."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave: copies of the tensors, on the CPU."""


class Loss(Stateful, Protocol):
    """An objective at work in one run."""

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Losses (b,) of samples x (b, *shape), y (b,), differentiable in the parameters; the caller takes the mean.

        What happens to one sample does not depend on the others. All randomness comes from `generator`. The model is
        in train mode and comes back in it.
        """


class Objective(Protocol):
    """What a training step minimises, before penalties: a frozen value."""

    @property
    def name(self) -> str:
        """The name records show, such as "trades-linf-0.03"."""

    @property
    def cost(self) -> float:
        """Gradient evaluations for one sample in one step: 1 for plain training."""

    def start(self) -> Loss:
        """A loss with its own fresh state."""


class Term(Stateful, Protocol):
    """A penalty at work in one run."""

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """The penalty of the structure matrices `weights`, each (h, d) -> a scalar, or (M, h, d) -> (M,).

        Only its gradient must be right: a term may return a surrogate with the penalty's gradient.
        """


class Penalty(Protocol):
    """Added to the loss with a strength >= 0: a frozen value."""

    @property
    def name(self) -> str:
        """The name in `PENALTIES`."""

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """The penalty itself, (h, d) matrices -> a scalar or (M, h, d) -> (M,): what records show."""

    def start(self) -> Term:
        """A term with its own fresh state."""


class Proximal(Protocol):
    """A penalty whose proximal step is known."""

    def prox(self, weight: Tensor, step: float) -> Tensor:
        """`argmin_V step * penalty(V) + ||V - weight||_F^2 / 2`, (h, d) -> (h, d)."""


class Watch(Protocol):
    """Looks at a model between epochs: a frozen value whose printed form tells it from others."""

    @property
    def every(self) -> int:
        """Look after each so many epochs, before the first and after the last."""

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Tracked:
        """What it sees. The model is in eval mode, its parameters held still, and is left as it was."""

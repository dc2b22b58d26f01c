"""The roles in training: what a step minimises, what is added to it, what is held, and who says which epoch is best.

Legend: b samples of a batch, h neurons, d fan-in; a leading M counts the members of an ensemble that train at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.results.training import Tracked

# One generator for a batch, or one for each ensemble member whose samples are folded into it, in order.
Generators = torch.Generator | Sequence[torch.Generator]


class Stateful(Protocol):
    """Something that a checkpoint must remember to go on exactly."""

    def state(self) -> dict[str, Tensor]:
        """Everything the next call depends on; empty for most."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave: copies of the tensors, on the CPU."""


class Loss(Stateful, Protocol):
    """An objective at work in one run."""

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, generator: Generators) -> Tensor:
        """Losses (b,) of samples x (b, *shape), y (b,), differentiable in the parameters; the caller takes the mean.

        What happens to one sample does not depend on the others. All randomness comes from `generator`: one, unless an
        ensemble asks (only the objectives in `ensemble.together.FOLDING` are then met). The model is in train mode and
        comes back in it.
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
    """Added to the loss with a strength >= 0: a frozen value.

    One with a class attribute `of_core = True` is a function of the singular values, and is given the core of a
    low-rank layer in place of its structure matrix (see `cores.core_of`).
    """

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


class Held(Protocol):
    """Something kept true of one model's weights."""

    def __call__(self, step: int | None) -> None:
        """Put the weights right again, in place: after so many finished steps, or (None) at the end of an epoch."""


class Hold(Protocol):
    """Kept true from the first step on: a frozen value whose printed form tells it from others.

    It remembers nothing but what the weights were when the run began, so that checkpoints need not know it.
    """

    @property
    def name(self) -> str:
        """The name records show, such as "zeros"."""

    def start(self, model: nn.Module) -> Held:
        """At work on the weights that `model` has now.

        Raises:
            UsageError: nothing to hold.
        """


@dataclass(frozen=True)
class Judged:
    """How good a model is at the end of an epoch.

    Attributes:
        rank: compared in order, larger is better.
        lost: what patience watches: smaller is better.
        seen: what a record should show of it; None for nothing.
    """

    rank: tuple[float, float]
    lost: float
    seen: Tracked | None = None


class Judge(Protocol):
    """Says which epoch is best: a frozen value whose printed form tells it from others."""

    def __call__(self, model: nn.Module, validation: Split, *, seed: int) -> Judged:
        """How good it is. The model is in eval mode, its parameters held still, and is left as it was."""

"""What a plan can keep true of the weights after every step: zeros, and the condition of low-rank layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from brittle.compression.conditioned import condition_factors
from brittle.compression.pairs import low_rank_layers
from brittle.errors import UsageError
from brittle.training.protocols import Held


@dataclass(frozen=True)
class Zeros:
    """Weights that are zero when the run begins stay zero: of a pruned net, those that were taken away.

    Every parameter of two or more dimensions counts (matrices and kernels; biases and norms do not). A projection after
    each step, so that the optimiser may do as it likes.
    """

    name: str = field(default="zeros", init=False)

    def start(self, model: nn.Module) -> Held:
        """The zeros of now.

        Raises:
            UsageError: there are none.
        """
        found = [(p, p.detach() == 0) for p in model.parameters() if p.dim() > 1]
        found = [(p, zero) for p, zero in found if bool(zero.any())]
        if not found:
            raise UsageError("no weight is zero, so there are no zeros to hold: leave holding zeros out")
        return _Zeros(found)


class _Zeros:
    def __init__(self, zeros: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._zeros = zeros

    @torch.no_grad()
    def __call__(self, step: int | None) -> None:
        for parameter, zero in self._zeros:
            parameter.masked_fill_(zero, 0.0)


@dataclass(frozen=True)
class Conditioned:
    """Low-rank layers keep a condition number of at most `tau`: see `compression.conditioned.condition_factors`.

    The approximately orthonormal low-rank training of CondLR (Savostianova et al. 2023), as a projection. It does not
    change a layer's Frobenius norm.

    Attributes:
        tau: the largest `sigma_1 / sigma_r` of a layer of rank r, at least 1.
        every: steps between two projections; there is one at the end of each epoch in any case.

    Raises:
        UsageError: a number out of its range.
    """

    tau: float
    every: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.tau < float("inf"):
            raise UsageError(f"a condition number is bounded by a finite tau >= 1, got {self.tau!r}: try 2")
        if self.every < 1:
            raise UsageError(f"steps between two projections must be at least 1, got {self.every!r}")

    @property
    def name(self) -> str:
        """Such as "condition<=2"."""
        return f"condition<={self.tau:g}"

    def start(self, model: nn.Module) -> Held:
        """The low-rank layers of the model, which are projected at once.

        Raises:
            UsageError: there are none.
        """
        if not low_rank_layers(model):
            raise UsageError("no layer is of low rank, so there is no condition to hold: factorise layers first")
        condition_factors(model, self.tau)
        return _Conditioned(model, self)


class _Conditioned:
    def __init__(self, model: nn.Module, settings: Conditioned) -> None:
        self._model, self._settings = model, settings

    def __call__(self, step: int | None) -> None:
        if step is None or step % self._settings.every == 0:
            condition_factors(self._model, self._settings.tau)

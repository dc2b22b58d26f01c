"""Where a run computes: on one device in the model's own number format. `Accelerated` is the other place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from brittle.errors import UsageError
from brittle.models.messages import first_line


class Place(Protocol):
    """A device, a number format, and the processes that share the work: every process runs the same code.

    `world` processes, this one is number `rank`. Process r takes samples r, r + world, ... of each batch.
    """

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def world(self) -> int:
        """How many processes."""

    @property
    def precision(self) -> str:
        """What records show: "float32", "bf16 mixed"."""

    def put(self, model: nn.Module) -> torch.device:
        """Bring the model where it will be trained, in place; the device."""

    def autocast(self) -> AbstractContextManager[object]:
        """Around the objective."""

    def backward(self, loss: Tensor) -> None:
        """Gradients of a scalar."""

    def settle_gradients(self, optimisers: Sequence[Optimizer]) -> None:
        """After `backward`: the mean over the processes, in the parameters' own units."""

    def step(self, optimisers: Sequence[Optimizer]) -> None:
        """Let every optimiser take its step."""

    def total(self, value: Tensor) -> Tensor:
        """The sum over the processes."""

    def first(self, value: Tensor) -> Tensor:
        """The value of process 0."""

    def wait(self) -> None:
        """Until every process is here."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must remember."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""


@dataclass(frozen=True)
class Here:
    """One process on one device, in the model's own number format.

    Attributes:
        device: such as "cpu" or "cuda"; None for where the model is.
    """

    device: str | None = None

    @property
    def rank(self) -> int:
        """0."""
        return 0

    @property
    def world(self) -> int:
        """1."""
        return 1

    @property
    def precision(self) -> str:
        """The model's own."""
        return "own"

    def put(self, model: nn.Module) -> torch.device:
        """Move the model, if a device is given.

        Raises:
            UsageError: no such device here.
        """
        if self.device is not None:
            try:
                model.to(self.device)
            except (RuntimeError, AssertionError) as error:  # torch says so in both ways
                raise UsageError(
                    f"cannot train on device {self.device!r} ({first_line(error)}): give cpu, or cuda where a GPU is"
                ) from None
        return next(model.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """Nothing."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """`loss.backward()`."""
        loss.backward()

    def settle_gradients(self, optimisers: Sequence[Optimizer]) -> None:
        """Nothing to do."""

    def step(self, optimisers: Sequence[Optimizer]) -> None:
        """Each optimiser's step."""
        for optimiser in optimisers:
            optimiser.step()

    def total(self, value: Tensor) -> Tensor:
        """The value."""
        return value

    def first(self, value: Tensor) -> Tensor:
        """The value."""
        return value

    def wait(self) -> None:
        """Nothing to wait for."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to do."""

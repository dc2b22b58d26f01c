"""Mixed precision and several processes through the optional package accelerate (extra `train`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from brittle.errors import UsageError
from brittle.models.messages import first_line

PRECISIONS = ("no", "bf16", "fp16")


class Accelerated:
    """A `Place` on the device that accelerate chooses, one process of those that `accelerate launch` started.

    The model is not wrapped: gradients are averaged after the backward pass, so that objectives may call the model and
    its input gradients as often as they like. Every process must come with the same weights, plan and seed.

    Args:
        mixed_precision: "no", "bf16", or "fp16" (GPUs only).
        cpu: stay on the CPU where there is a GPU too.

    Raises:
        UsageError: accelerate is not installed, an unknown precision, one that the device cannot do, or a process that
            has computed in another one before.
    """

    def __init__(self, mixed_precision: str = "no", *, cpu: bool = False) -> None:
        if mixed_precision not in PRECISIONS:
            raise UsageError(f"unknown mixed precision {mixed_precision!r}: expected one of {', '.join(PRECISIONS)}")
        try:
            accelerator = import_module("accelerate").Accelerator
        except ImportError:
            raise UsageError(
                "mixed precision and several GPUs need the package accelerate: install brittle with its extra [train]"
            ) from None
        try:
            self._accelerator: Any = accelerator(mixed_precision=mixed_precision, cpu=cpu)
        except (ValueError, RuntimeError, ImportError) as error:
            raise UsageError(
                f"cannot train in mixed precision {mixed_precision!r} here: {first_line(error)}: start another process"
            ) from None
        device = torch.device(self._accelerator.device).type
        if mixed_precision == "fp16" and device == "cpu":
            raise UsageError(f"mixed precision fp16 needs a GPU, got device {device}: take bf16 or no")
        self._mixed = mixed_precision

    def __repr__(self) -> str:
        return f"Accelerated({self._mixed!r}, device={str(self._accelerator.device)!r}, world={self.world})"

    @property
    def rank(self) -> int:
        """This process's number."""
        return int(self._accelerator.process_index)

    @property
    def world(self) -> int:
        """How many processes."""
        return int(self._accelerator.num_processes)

    @property
    def precision(self) -> str:
        """ "own" or such as "bf16 mixed"."""
        return "own" if self._mixed == "no" else f"{self._mixed} mixed"

    def put(self, model: nn.Module) -> torch.device:
        """Move the model to this process's device."""
        model.to(self._accelerator.device)
        return torch.device(self._accelerator.device)

    def autocast(self) -> AbstractContextManager[object]:
        """accelerate's."""
        context: AbstractContextManager[object] = self._accelerator.autocast()
        return context

    def backward(self, loss: Tensor) -> None:
        """Scaled for fp16."""
        self._accelerator.backward(loss)

    def settle_gradients(self, optimisers: Sequence[Optimizer]) -> None:
        """The mean over the processes, then out of the scale that fp16 needs."""
        if self.world > 1:
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            p.grad.copy_(self._accelerator.reduce(p.grad, reduction="mean"))
        if self._accelerator.scaler is not None:
            for optimiser in optimisers:
                self._accelerator.scaler.unscale_(optimiser)

    def step(self, optimisers: Sequence[Optimizer]) -> None:
        """Each optimiser's step; in fp16 skipped where the scale was too large, which makes it smaller."""
        scaler = self._accelerator.scaler
        for optimiser in optimisers:
            optimiser.step() if scaler is None else scaler.step(optimiser)
        if scaler is not None:
            scaler.update()

    def total(self, value: Tensor) -> Tensor:
        """The sum over the processes."""
        result: Tensor = self._accelerator.reduce(value, reduction="sum")
        return result

    def first(self, value: Tensor) -> Tensor:
        """Process 0's."""
        result: Tensor = import_module("accelerate.utils").broadcast(value)
        return result

    def wait(self) -> None:
        """accelerate's barrier."""
        self._accelerator.wait_for_everyone()

    def state(self) -> dict[str, Tensor]:
        """fp16's scale, and how long it has held."""
        scaler = self._accelerator.scaler
        if scaler is None:
            return {}
        state = scaler.state_dict()
        return {key: torch.tensor(float(state[key]), dtype=torch.float64) for key in ("scale", "_growth_tracker")}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put fp16's scale back."""
        scaler = self._accelerator.scaler
        if scaler is not None and state:
            kept = {"scale": float(state["scale"]), "_growth_tracker": int(state["_growth_tracker"])}
            scaler.load_state_dict({**scaler.state_dict(), **kept})

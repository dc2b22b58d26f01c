"""How long a forward pass takes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn

from brittle.errors import UsageError
from brittle.models.export.cost import made_batch, run
from brittle.models.frozen import frozen

_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a forward pass of `batch` inputs: the median of `repeats`, and the quartiles `low`, `high`."""

    median: float
    low: float
    high: float
    batch: int
    repeats: int
    threads: int


def latency_ms(
    model: nn.Module, input_shape: tuple[int, ...], batch: int = 1, repeats: int = 30, threads: int = 1
) -> Latency:
    """Time forward passes without gradients, in evaluation mode, where the model is, after some that are not counted.

    An estimate: it holds for this machine, this torch and what else was running. torch's number of threads is put back.

    Args:
        model: left as it was.
        input_shape: of one input.
        batch: inputs of one pass.
        repeats: passes that are timed, at least 2.
        threads: of torch inside one operator.

    Raises:
        ModelError: a model that does not run on such inputs.
        UsageError: repeats or threads out of range.
    """
    if repeats < 2 or threads < 1:
        raise UsageError(f"expected at least 2 repeats and 1 thread, got {repeats} and {threads}")
    x = made_batch(model, input_shape, batch, seed=0)
    times = []
    with _threads(threads), frozen(model), torch.inference_mode():
        for _ in range(_WARM_UP):
            run(model, x)
        for _ in range(repeats):
            _settled(x.device)
            start = perf_counter()
            model(x)
            _settled(x.device)
            times.append(1000 * (perf_counter() - start))
    low, median, high = (
        torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75]).double()).tolist()
    )
    return Latency(median, low, high, batch, repeats, threads)


def _settled(device: torch.device) -> None:
    """Kernels of other devices run on after the call."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

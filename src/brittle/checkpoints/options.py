"""How a checkpoint is measured, and the efforts that the command line names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brittle.errors import UsageError

# (stage, done, total), told as work goes on.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CheckpointOptions:
    """Settings of a structure audit.

    Args:
        k_fraction: of the rows, or of the singular values, kept for residuals and spreads.
        exact_side: up to this short side all singular values are computed; beyond it random probes estimate.
        probes: random starts, 3 at least.
        steps: products with the matrix and its transpose for each probe.
        seed: of the probes; a matrix's probes depend on the seed and its name alone.
        workers: processes, each with one thread and one matrix at a time.
        time_limit: seconds after which no further matrix is begun.

    Raises:
        UsageError: an option outside its range.
    """

    k_fraction: float = 0.1
    exact_side: int = 2048
    probes: int = 10
    steps: int = 40
    seed: int = 0
    workers: int = 1
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.k_fraction <= 1:
            raise UsageError(f"k must be a fraction in (0, 1] of a layer's neurons, got {self.k_fraction!r}")
        for name, least in (("exact_side", 0), ("probes", 3), ("steps", 8), ("seed", 0), ("workers", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UsageError(f"{name.replace('_', ' ')} must be a whole number of {least} or more, got {value!r}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(f"the time limit must be a positive number of seconds, got {self.time_limit!r}")


# What --effort changes: quick estimates most matrices, thorough computes all values up to a very long side.
EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {"exact_side": 256, "probes": 8, "steps": 24},
    "standard": {"exact_side": 2048, "probes": 10, "steps": 40},
    "thorough": {"exact_side": 2**14, "probes": 16, "steps": 64},
}

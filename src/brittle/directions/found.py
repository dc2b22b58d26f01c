"""What a map's search hands back: vectors and their energies, still without a record's clothes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from brittle.directions.trace import Trace


@dataclass(frozen=True, eq=False)
class Found:
    """Orthonormal `vectors` (k, d) of the map called `name`, energies and residuals (k,), all float64.

    `trace` is that of the fitting samples; `scored` (k,) and `scored_trace` are energies and trace on the scoring
    samples; `products` counts the passes with J and J^T over the fitting samples.
    """

    name: str
    vectors: Tensor
    energies: Tensor
    residuals: Tensor
    trace: Trace
    scored: Tensor
    scored_trace: Trace
    products: int

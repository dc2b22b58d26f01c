"""The second moment of a map's Jacobians, `A = E_x[ J(x)^T J(x) ]`, as an operator.

Legend: n samples, d pixels, D outputs; A is (d, d). Vectors come and go as rows (m, d) in float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from brittle.directions.linearise import Linearised, Map, lineariser_for, nonfinite_derivatives


class Moment:
    """A at samples x (n, *shape), batch by batch: memory grows with the batch size, not with n.

    Args:
        function: maps (b, *shape) to (b, D); samples do not affect each other.
        x: (n, *shape) pixels.
        batch_size: samples linearised at once.

    Raises:
        ModelError: the function cannot be differentiated (see `lineariser_for`).
    """

    def __init__(self, function: Map, x: Tensor, batch_size: int) -> None:
        self._function, self._x, self._batch_size = function, x, batch_size
        self._lineariser = lineariser_for(function, x[:1])
        with torch.no_grad():
            self.units = function(x[:1]).shape[1]
        self.shape = tuple(x.shape[1:])
        self.pixels = prod(self.shape)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._x)

    def linearised(self) -> Iterator[Linearised]:
        """The Jacobians, batch by batch in the order of the samples."""
        for part in self._x.split(self._batch_size):
            yield self._lineariser(self._function, part)

    def apply(self, v: Tensor) -> Tensor:
        """`A v` for rows v (m, d) -> (m, d).

        Raises:
            ModelError: a derivative that is not finite, or outputs that are not.
        """
        total = torch.zeros(v.shape, dtype=torch.float64)
        directions = self._directions(v)
        for linear in self.linearised():
            for row, direction in zip(total, directions, strict=True):
                pulled = linear.vjp(linear.jvp(direction))
                # Summed in float64, so that the batch size only shows in the rounding inside the network.
                row += pulled.flatten(1).sum(0, dtype=torch.float64).cpu()
        return _finite(total / len(self))

    def energies(self, v: Tensor) -> Tensor:
        """`v^T A v = E_x ||J v||_2^2` for rows v (m, d) -> (m,), by products with J alone.

        Raises:
            ModelError: as `apply`.
        """
        total = torch.zeros(len(v), dtype=torch.float64)
        directions = self._directions(v)
        for linear in self.linearised():
            for i, direction in enumerate(directions):
                total[i] += linear.jvp(direction).double().square().sum().cpu()
        return _finite(total / len(self))

    def _directions(self, v: Tensor) -> Tensor:
        return v.view(-1, *self.shape).to(self._x)


def _finite(values: Tensor) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise nonfinite_derivatives()
    return values

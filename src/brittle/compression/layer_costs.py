"""How many parameters one layer will have after a plan: dense layers and convolutions, low-rank pairs, norms.

Legend: h outputs, c inputs of a group, k x k window, r rank; m, n sides of the unfolded kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Protocol

from torch import nn

from brittle.compression.couplings.coupling import Side
from brittle.compression.couplings.sides import side_size, weight_of
from brittle.compression.modes import Modes
from brittle.compression.nesting import nesting
from brittle.compression.pairs import LowRank, bias_of, kernel_shape, rank_of
from brittle.compression.unfoldings import CHANNELS, Unfolding, cheaper, unfolding_of

# Positions that sides lose, by module and side.
Lost = Mapping[tuple[str, Side], int]


class LayerCost(Protocol):
    """A layer as its cost sees it."""

    @property
    def now(self) -> int:
        """Parameters of the layer as it is."""

    def weights(self, lost: Lost, rank: int, modes: Modes | None = None) -> dict[str, int]:
        """Numbers of weights, by the name of the module that will hold them; rank 0 leaves the rank as it is."""

    def others(self, lost: Lost) -> int:
        """Number of biases and scales that stay."""


@dataclass(frozen=True)
class DenseCost:
    """A dense layer, a convolution or torch's attention with its joined projection."""

    name: str
    shape: tuple[int, ...]
    has_bias: bool

    @classmethod
    def of(cls, name: str, module: nn.Module) -> DenseCost:
        """Read off the module."""
        weight = weight_of(module)
        assert weight is not None
        biases = sum(parameter is not None for parameter in module._parameters.values()) - 1
        return cls(name, tuple(weight.shape), biases > 0)

    @property
    def now(self) -> int:
        """Weights and biases."""
        return prod(self.shape) + self.has_bias * self.shape[0]

    def weights(self, lost: Lost, rank: int, modes: Modes | None = None) -> dict[str, int]:
        """One weight, or two where the pair is smaller, or the parts of a nested layer."""
        rows, columns, *window = self.shape
        shape = (rows - lost.get((self.name, "out"), 0), columns - lost.get((self.name, "in"), 0), *window)
        nested = nesting(shape, modes, rank)
        if nested is not None:
            return {f"{self.name}.{part}": count for part, count in nested.weights().items()}
        unfolding = cheaper(shape)
        if rank and rank * sum(unfolding.sides(shape)) < prod(shape):
            return _pair_weights(self.name, unfolding, shape, rank)
        return {self.name: prod(shape)}

    def others(self, lost: Lost) -> int:
        """Biases."""
        return self.has_bias * (self.shape[0] - lost.get((self.name, "out"), 0))


@dataclass(frozen=True)
class PairCost:
    """A low-rank pair that is there already: its rank can only fall."""

    name: str
    shape: tuple[int, ...]
    rank: int
    unfolding: Unfolding
    outputs: tuple[str, Side]
    inputs: tuple[str, Side]
    has_bias: bool

    @classmethod
    def of(cls, name: str, pair: LowRank) -> PairCost:
        """Read off the pair."""
        ends: tuple[tuple[str, Side], tuple[str, Side]] = ((f"{name}.second", "out"), (f"{name}.first", "in"))
        return cls(name, tuple(kernel_shape(pair)), rank_of(pair), unfolding_of(pair), *ends, bias_of(pair) is not None)

    @property
    def now(self) -> int:
        """Both weights and the biases."""
        return self.rank * sum(self.unfolding.sides(self.shape)) + self.has_bias * self.shape[0]

    def weights(self, lost: Lost, rank: int, modes: Modes | None = None) -> dict[str, int]:
        """Two weights; modes are not for pairs."""
        rows, columns, *window = self.shape
        shape = (rows - lost.get(self.outputs, 0), columns - lost.get(self.inputs, 0), *window)
        most = min(self.rank, *self.unfolding.sides(shape))
        return _pair_weights(self.name, self.unfolding, shape, min(rank or most, most))

    def others(self, lost: Lost) -> int:
        """Biases."""
        return self.has_bias * (self.shape[0] - lost.get(self.outputs, 0))


@dataclass(frozen=True)
class NormCost:
    """A batch norm or a PReLU: so many numbers for each channel."""

    name: str
    channels: int
    each: int

    @classmethod
    def of(cls, name: str, module: nn.Module) -> NormCost:
        """Read off the module."""
        channels = side_size(module, "out")
        return cls(name, channels, sum(parameter.numel() for parameter in module.parameters()) // channels)

    @property
    def now(self) -> int:
        """Scales and shifts."""
        return self.channels * self.each

    def weights(self, lost: Lost, rank: int, modes: Modes | None = None) -> dict[str, int]:
        """None."""
        return {}

    def others(self, lost: Lost) -> int:
        """Scales and shifts."""
        return (self.channels - lost.get((self.name, "out"), 0)) * self.each


def _pair_weights(name: str, unfolding: Unfolding, shape: tuple[int, ...], rank: int) -> dict[str, int]:
    """The 1 x 1 part belongs to the short description of the kernel: the last one, or the first one over channels."""
    m, n = unfolding.sides(shape)
    first, second = (m, n) if unfolding is CHANNELS else (n, m)
    return {f"{name}.first": rank * first, f"{name}.second": rank * second}

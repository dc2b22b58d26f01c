"""The two ways in which a convolution's kernel becomes a matrix, and with it a pair of layers of rank r.

Legend: h filters, c channels, k x k kernel; a dense layer has k = 1 and the first unfolding only.

At rank r the first costs r (c k k + h) weights, the second r (c + h k k): the first is the cheaper one, at every rank,
exactly where c <= h. So the choice depends on the layer's shape alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

from torch import Tensor, nn

from brittle.compression.pairs import LOW_RANK, LowRank, kernel_shape, rank_of, write_factors
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear


class Unfolding(Protocol):
    """A matrix for a kernel, and the pair of layers that a product of two matrices stands for."""

    def matrix(self, weight: Tensor) -> Tensor:
        """The kernel (h, c, k, k), or (h, d) of a dense layer, as a matrix (m, n)."""

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(m, n) for a kernel of this shape."""

    def pair(self, layer: nn.Module, left: Tensor, right: Tensor, bias: Tensor | None) -> LowRank:
        """The pair that computes `left right` (m, r), (r, n) in the place of `layer`."""


@dataclass(frozen=True)
class Filters:
    """(h, c k k): a k x k convolution to r channels, then a 1 x 1 convolution; two dense layers for a dense one."""

    def matrix(self, weight: Tensor) -> Tensor:
        """Filters stay rows."""
        return weight.flatten(1)

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(h, c k k)."""
        return shape[0], prod(shape[1:])

    def pair(self, layer: nn.Module, left: Tensor, right: Tensor, bias: Tensor | None) -> LowRank:
        """A `LowRankLinear` or `LowRankConv2d`; dtype, device, mode and `requires_grad` are the layer's."""
        shape, rank = kernel_shape(layer), left.shape[1]
        if len(shape) == 2:
            return _filled(LowRankLinear(shape[1], shape[0], rank, bias is not None), layer, left, right, bias)
        return _filled(LowRankConv2d(*_geometry(layer, rank, bias)), layer, left, right, bias)


@dataclass(frozen=True)
class Channels:
    """(c, h k k): a 1 x 1 convolution to r channels, then a k x k convolution. Not for dense layers."""

    def matrix(self, weight: Tensor) -> Tensor:
        """Channels become rows."""
        return weight.transpose(0, 1).flatten(1)

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(c, h k k)."""
        return shape[1], shape[0] * prod(shape[2:])

    def pair(self, layer: nn.Module, left: Tensor, right: Tensor, bias: Tensor | None) -> LowRank:
        """A `LowRankConv2dIn`; dtype, device, mode and `requires_grad` are the layer's."""
        return _filled(LowRankConv2dIn(*_geometry(layer, left.shape[1], bias)), layer, left, right, bias)


FILTERS, CHANNELS = Filters(), Channels()
# Names for options and records.
UNFOLDINGS: dict[str, Unfolding] = {"filters": FILTERS, "channels": CHANNELS}


def cheaper(shape: tuple[int, ...]) -> Unfolding:
    """The unfolding with fewer weights at any given rank, for a kernel (h, c, k, k) or (h, d)."""
    return CHANNELS if prod(shape[2:]) > 1 and shape[1] > shape[0] else FILTERS


def unfolding_of(layer: nn.Module) -> Unfolding:
    """The unfolding a low-rank layer has already, else the cheaper one for a dense layer's shape."""
    if isinstance(layer, LowRankConv2dIn):
        return CHANNELS
    if isinstance(layer, LowRankLinear | LowRankConv2d):
        return FILTERS
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return cheaper(tuple(layer.weight.shape))


def full_rank(layer: nn.Module, unfolding: Unfolding) -> int:
    """The largest rank the layer can have: the short side of its matrix, or the rank it was cut to before."""
    if isinstance(layer, LOW_RANK):
        return rank_of(layer)
    return min(unfolding.sides(tuple(kernel_shape(layer))))


def weights_at(layer: nn.Module, rank: int, unfolding: Unfolding) -> int:
    """How many weights (biases apart) a dense layer or a pair has after `factorise` with this rank.

    Rank 0, and a rank that saves nothing, leave it as it is.
    """
    now = kernel_shape(layer).numel()
    if isinstance(layer, LOW_RANK):
        now = layer.first.weight.numel() + layer.second.weight.numel()
    return min(now, rank * sum(unfolding.sides(tuple(kernel_shape(layer))))) if rank else now


def pair_weights(shape: tuple[int, ...], rank: int) -> int:
    """Weights (biases apart) of a dense layer with kernel `shape` after `factorise` with this rank.

    Rank 0, and a rank at which the pair would not be smaller, leave the layer dense.
    """
    dense = prod(shape)
    return min(dense, rank * sum(cheaper(shape).sides(shape))) if rank else dense


def spatial_part(layer: nn.Module) -> nn.Conv2d:
    """The convolution that has the window, stride and padding: of a pair the k x k part, else the layer itself."""
    if isinstance(layer, LowRankConv2d):
        return layer.first
    if isinstance(layer, LowRankConv2dIn):
        return layer.second
    assert isinstance(layer, nn.Conv2d)
    return layer


def _geometry(layer: nn.Module, rank: int, bias: Tensor | None) -> tuple:
    """Arguments of a low-rank convolution in the place of `layer`."""
    h, c = kernel_shape(layer)[:2]
    conv = spatial_part(layer)
    size = (conv.kernel_size, rank, conv.stride, conv.padding, conv.dilation)
    return (c, h, *size, bias is not None, conv.padding_mode)


def _filled(pair: LowRank, layer: nn.Module, left: Tensor, right: Tensor, bias: Tensor | None) -> LowRank:
    like = next(layer.parameters())
    pair = pair.to(like)
    write_factors(pair, left, right)
    if bias is not None:
        assert pair.second.bias is not None
        pair.second.bias.data.copy_(bias)
    pair.requires_grad_(like.requires_grad)
    return pair.train(layer.training)

"""Low-rank layers seen as a product of two matrices, whichever way their kernel is unfolded.

Legend: h filters or neurons, c channels, k kernel size, r rank; a pair's matrix is L R with L (m, r) and R (r, n).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear

LowRank = LowRankLinear | LowRankConv2d | LowRankConv2dIn
LOW_RANK = (LowRankLinear, LowRankConv2d, LowRankConv2dIn)


def low_rank_layers(model: nn.Module) -> dict[str, LowRank]:
    """The low-rank layers of a model by name, in its order; a layer at several places is named once."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LOW_RANK)}


def rank_of(layer: LowRank) -> int:
    """r, the number of channels or neurons between the two parts."""
    return layer.first.weight.shape[0]


def factors(layer: LowRank) -> tuple[Tensor, Tensor]:
    """L (m, r) and R (r, n), copies in float64: `second`, `first`, or `first^t`, `second` over the input channels."""
    first, second = _copied(layer.first.weight), _copied(layer.second.weight)
    if isinstance(layer, LowRankConv2dIn):
        return first.flatten(1).T, second.transpose(0, 1).flatten(1)
    return second.flatten(1), first.flatten(1)


@torch.no_grad()
def write_factors(layer: LowRank, left: Tensor, right: Tensor) -> None:
    """Put L (m, r) and R (r, n), as `factors` gives them, into the layer's own parameters."""
    first, second = layer.first.weight, layer.second.weight
    if isinstance(layer, LowRankConv2dIn):
        first.copy_(left.T.reshape(first.shape))
        second.copy_(right.reshape(second.transpose(0, 1).shape).transpose(0, 1))
    else:
        second.copy_(left.reshape(second.shape))
        first.copy_(right.reshape(first.shape))


def kernel(layer: nn.Module) -> Tensor:
    """The weights of a layer as of a dense one, (h, d) or (h, c, k, k), a copy in float64; pairs are multiplied out."""
    if isinstance(layer, LowRankConv2dIn):
        left, right = factors(layer)
        h, _, *size = layer.second.weight.shape
        return (left @ right).view(len(left), h, *size).transpose(0, 1)
    if isinstance(layer, LowRankLinear | LowRankConv2d):
        left, right = factors(layer)
        return (left @ right).view(len(left), *layer.first.weight.shape[1:])
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return _copied(layer.weight)


def kernel_shape(layer: nn.Module) -> torch.Size:
    """(h, d) or (h, c, k, k), the shape of `kernel(layer)`, without computing it."""
    if isinstance(layer, LowRankConv2dIn):
        second = layer.second.weight.shape
        return torch.Size((second[0], layer.first.weight.shape[1], *second[2:]))
    if isinstance(layer, LowRankLinear | LowRankConv2d):
        return torch.Size((len(layer.second.weight), *layer.first.weight.shape[1:]))
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer.weight.shape


def bias_of(layer: nn.Module) -> Tensor | None:
    """The bias (h,) of a dense layer or a pair, None where it has none."""
    last = layer.second if isinstance(layer, LOW_RANK) else layer
    assert isinstance(last, nn.Linear | nn.Conv2d)
    return last.bias


def balanced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same product L R with equal singular values in both factors: `U sqrt(S)` and `sqrt(S) V^t` of its SVD."""
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, vt = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
    root = s.sqrt()
    return q_left @ (u * root), (root[:, None] * vt) @ q_right.T


def _copied(weight: Tensor) -> Tensor:
    """In float64, without a graph, in memory of its own: a float64 model's weights must not change under a reader."""
    return weight.detach().to(torch.float64, copy=True)

"""Low-rank layers as a product L R, with gradients, and the small core that has all its singular values.

Legend: h neurons or filters, c input channels, d fan-in, k kernel size, r rank; L (m, r), R (r, n). A leading M counts
the members of an ensemble.
"""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear

LowRank = LowRankLinear | LowRankConv2d | LowRankConv2dIn


def pair_of(layer: LowRank) -> tuple[Tensor, Tensor]:
    """L and R: (h, r) and (r, d), or where the 1 x 1 convolution comes first (c, r) and (r, h k k)."""
    first, second = layer.first.weight, layer.second.weight
    if isinstance(layer, LowRankLinear):
        return second, first
    if isinstance(layer, LowRankConv2dIn):
        return first.flatten(-3).mT, second.transpose(-4, -3).flatten(-3)
    return second.flatten(-3), first.flatten(-3)


def product_of(layer: LowRank) -> Tensor:
    """The structure matrix W (h, d) of the layer, with gradients to both factors."""
    left, right = pair_of(layer)
    product = left @ right
    if not isinstance(layer, LowRankConv2dIn):
        return product
    filters, taps = layer.second.weight.shape[-4], layer.second.weight.shape[-2:].numel()
    return product.unflatten(-1, (filters, taps)).transpose(-3, -2).flatten(-2)


def core_of(layer: LowRank) -> Tensor:
    """`S = U^T (L R) V` (r, r), U and V orthonormal bases of the columns of L and the rows of R.

    S has the singular values of L R that a product of rank r can have, and no others. U and V are held fixed, as in
    dynamical low-rank training: to first order a singular value of L R moves by `u^T d(L R) v` with u and v within
    these bases, so the gradient of any function of the singular values is exact.
    """
    left, right = pair_of(layer)
    with torch.no_grad():
        u, v = torch.linalg.qr(left).Q, torch.linalg.qr(right.mT).Q
    return (u.mT @ left) @ (right @ v)

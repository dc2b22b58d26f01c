"""Low-rank layers: one linear map as the product of two thinner ones.

Legend: d fan-in, h neurons or filters, r rank, k kernel size.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from brittle.errors import ModelError


class LowRankLinear(nn.Module):
    """`second(first(x))`: W = B A with A (r, d) without bias and B (h, r), so r (h + d) weights in place of h d.

    Raises:
        ModelError: rank outside 1..min(h, d).
    """

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        _check_rank(rank, min(in_features, out_features))
        self.first = nn.Linear(in_features, rank, bias=False)
        self.second = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., h)."""
        return self.second(self.first(x))

    @classmethod
    def from_linear(cls, linear: nn.Linear, rank: int) -> LowRankLinear:
        """The best rank-r approximation of a dense layer in Frobenius and spectral norm (Eckart and Young, 1936).

        The truncated SVD U S V^t is taken in float64 and split as U sqrt(S) and sqrt(S) V^t, so both factors have
        the same singular values. The bias is kept; dtype and device are the layer's.

        Raises:
            ModelError: rank outside 1..min(h, d), or weights that are not finite.
        """
        low = cls(linear.in_features, linear.out_features, rank, bias=linear.bias is not None).to(linear.weight)
        left, right = _split(linear.weight.detach(), rank)
        with torch.no_grad():
            low.first.weight.copy_(right)
            low.second.weight.copy_(left)
            if linear.bias is not None:
                low.second.bias.copy_(linear.bias)
        return low.train(linear.training)


class LowRankConv2d(nn.Module):
    """`second(first(x))`: a k x k convolution to r channels without bias, then a 1 x 1 convolution to h filters.

    This factorises the kernel reshaped to (filters, channels * k * k). The norm of that matrix is not the norm of
    the convolution.

    Raises:
        ModelError: rank outside 1..min(filters, channels * k * k).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        rank: int,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
    ) -> None:
        super().__init__()
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        _check_rank(rank, min(out_channels, in_channels * height * width))
        self.first = nn.Conv2d(
            in_channels,
            rank,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias=False,
            padding_mode=padding_mode,
        )
        self.second = nn.Conv2d(rank, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, height, width) -> (b, h, height', width')."""
        return self.second(self.first(x))

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, rank: int) -> LowRankConv2d:
        """The best rank-r approximation of the reshaped kernel, by truncated SVD in float64 as in `LowRankLinear`.

        Raises:
            ModelError: a grouped convolution, rank out of range, or weights that are not finite.
        """
        if conv.groups != 1:
            raise ModelError(f"a convolution with {conv.groups} groups cannot be factorised: expected groups = 1")
        low = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            rank,
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
        ).to(conv.weight)
        left, right = _split(conv.weight.detach().flatten(1), rank)
        with torch.no_grad():
            low.first.weight.copy_(right.view_as(low.first.weight))
            low.second.weight.copy_(left.view_as(low.second.weight))
            if conv.bias is not None:
                assert low.second.bias is not None
                low.second.bias.copy_(conv.bias)
        return low.train(conv.training)


class LowRankConv2dIn(nn.Module):
    """`second(first(x))`: a 1 x 1 convolution to r channels without bias, then a k x k convolution to h filters.

    This factorises the kernel reshaped to (channels, filters * k * k), the other unfolding than `LowRankConv2d`:
    r (c + h k k) weights in place of h c k k, the cheaper of the two where filters are fewer than channels. Step,
    padding and dilation belong to the second layer: a map without bias that acts on each pixel alone commutes with
    every way of padding.

    Raises:
        ModelError: rank outside 1..min(channels, filters * k * k).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        rank: int,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
    ) -> None:
        super().__init__()
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        _check_rank(rank, min(in_channels, out_channels * height * width))
        self.first = nn.Conv2d(in_channels, rank, 1, bias=False)
        self.second = nn.Conv2d(
            rank,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias=bias,
            padding_mode=padding_mode,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, height, width) -> (b, h, height', width')."""
        return self.second(self.first(x))


def linear(in_features: int, out_features: int, *, rank: int = 0, bias: bool = True) -> nn.Module:
    """A dense layer for rank 0, else a `LowRankLinear`."""
    if rank == 0:
        return nn.Linear(in_features, out_features, bias=bias)
    return LowRankLinear(in_features, out_features, rank, bias=bias)


def conv2d(
    in_channels: int, out_channels: int, kernel: int, *, stride: int, padding: int, rank: int = 0, bias: bool = True
) -> nn.Module:
    """A dense convolution for rank 0, else a `LowRankConv2d`."""
    if rank == 0:
        return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=bias)
    return LowRankConv2d(in_channels, out_channels, kernel, rank, stride=stride, padding=padding, bias=bias)


def _check_rank(rank: int, full: int) -> None:
    if not 1 <= rank <= full:
        raise ModelError(f"rank must be between 1 and {full}, the layer's full rank, got {rank}")


def _split(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(h, d) -> (h, r), (r, d) with the singular values shared equally."""
    if not torch.isfinite(weight).all():
        raise ModelError("the layer's weights hold NaN or infinity, so it has no SVD: expected finite weights")
    u, s, vt = torch.linalg.svd(weight.double(), full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vt[:rank]

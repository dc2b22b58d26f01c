"""Nested factorisations: a layer's inputs are first mixed down mode by mode, then a smaller layer reads the mixtures.

Legend: C input channels, S positions of each (height * width before a flatten), a and s mixtures of them, h neurons or
filters, r rank of the core, k kernel size. A dense layer behind a flatten has the three modes (h, C, S) of a Tucker
decomposition (Tucker, 1966), a convolution's 1 x 1, k x k, 1 x 1 parts those of Kim et al. (2016, Tucker-2).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.layers import LowRankConv2d, linear


class TuckerLinear(nn.Module):
    """A dense layer behind a flatten: mixtures of positions, the same for every channel, then of channels, then a core.

    `core(flatten(Q X P^t))` of the input X (C, S), with P (s, S), Q (a, C) and the core (h, a s) or of rank r. That is
    S s + C a + r (a s + h) weights in place of h C S; what is 0 is left out.

    Args:
        in_channels: C.
        in_positions: S; inputs are (b, C S), the positions of one channel side by side, as a flatten leaves them.
        out_features: h.
        channels: a, or 0 for all channels as they are.
        positions: s, or 0 for all positions as they are.
        rank: of the core, or 0 for a dense one.
        bias: whether the core adds one.

    Raises:
        ModelError: no mode that is mixed, or a number out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        in_positions: int,
        out_features: int,
        *,
        channels: int = 0,
        positions: int = 0,
        rank: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        _check_mode("channels", channels, in_channels)
        _check_mode("positions", positions, in_positions)
        if not channels and not positions:
            raise ModelError("a nested layer mixes channels or positions: give a number for one of them")
        self.modes = (in_channels, in_positions)
        self.positions = nn.Linear(in_positions, positions, bias=False) if positions else nn.Identity()
        self.channels = nn.Linear(in_channels, channels, bias=False) if channels else nn.Identity()
        read = (channels or in_channels) * (positions or in_positions)
        self.core = linear(read, out_features, rank=rank, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C S) -> (..., h)."""
        mixed = self.positions(x.unflatten(-1, self.modes))
        mixed = self.channels(mixed.transpose(-1, -2)).transpose(-1, -2)
        return self.core(mixed.flatten(-2))


class TuckerConv2d(nn.Module):
    """A convolution that reads mixtures of channels: 1 x 1 to a, then k x k, of rank r through r channels and a 1 x 1.

    C a + r (a k k + h) weights in place of h C k k. Step, padding and dilation belong to the k x k part: a map without
    bias that acts on each pixel alone commutes with every way of padding.

    Args:
        in_channels: C.
        out_channels: h.
        kernel_size: k, or one for each axis.
        channels: a.
        rank: r, or 0 for a k x k part that goes to the h filters itself.
        stride, padding, dilation, bias, padding_mode: as of a convolution.

    Raises:
        ModelError: a number out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        channels: int,
        rank: int = 0,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
    ) -> None:
        super().__init__()
        if not channels:
            raise ModelError("a nested convolution mixes its channels: give their number")
        _check_mode("channels", channels, in_channels)
        self.channels = nn.Conv2d(in_channels, channels, 1, bias=False)
        if rank:
            self.core: nn.Module = LowRankConv2d(
                channels,
                out_channels,
                kernel_size,
                rank,
                stride=stride,
                padding=padding,
                dilation=dilation,
                bias=bias,
                padding_mode=padding_mode,
            )
        else:
            self.core = nn.Conv2d(
                channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=padding,
                dilation=dilation,
                bias=bias,
                padding_mode=padding_mode,
            )

    def forward(self, x: Tensor) -> Tensor:
        """(b, C, height, width) -> (b, h, height', width')."""
        return self.core(self.channels(x))


def _check_mode(name: str, mixtures: int, whole: int) -> None:
    if not 0 <= mixtures <= whole:
        raise ModelError(f"{name} must be between 1 and {whole}, or 0 for all as they are, got {mixtures}")

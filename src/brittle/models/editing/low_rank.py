"""Low-rank pairs in place of dense layers and convolutions."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from brittle.models.editing.kind import EditKind, Sizes, of_class
from brittle.models.editing.plain import window_of
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear

_SIZES = ("in", "out", "rank", "bias")


def read_low_linear(module: nn.Module) -> dict[str, int]:
    """Sizes of a low-rank dense layer."""
    assert isinstance(module, LowRankLinear)
    first, second = module.first, module.second
    sides = {"in": first.in_features, "out": second.out_features, "rank": first.out_features}
    return {**sides, "bias": int(second.bias is not None)}


def _read_low_conv(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, LowRankConv2d | LowRankConv2dIn)
    first, second = module.first, module.second
    sides = {"in": first.in_channels, "out": second.out_channels, "rank": first.out_channels}
    return {**sides, "bias": int(second.bias is not None)}


def is_dense(module: nn.Module) -> bool:
    """Whether a pair can take its place: a dense layer or pair; a subclass that computes more cannot give way."""
    plain = isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    return plain or isinstance(module, LowRankLinear)


def is_convolution(module: nn.Module) -> bool:
    """As `is_dense`, for convolutions of one group."""
    if not isinstance(module, nn.Conv2d):
        return isinstance(module, LowRankConv2d | LowRankConv2dIn)
    own = type(module).forward, type(module)._conv_forward
    return own == (nn.Conv2d.forward, nn.Conv2d._conv_forward) and module.groups == 1


def _make_low_linear(module: nn.Module, sizes: Sizes) -> nn.Module:
    return LowRankLinear(sizes["in"], sizes["out"], sizes["rank"], bias=bool(sizes["bias"]))


def _making(pair: type[LowRankConv2d] | type[LowRankConv2dIn]) -> Callable[[nn.Module, Sizes], nn.Module]:
    def make(module: nn.Module, sizes: Sizes) -> nn.Module:
        conv = window_of(module)
        return pair(
            sizes["in"],
            sizes["out"],
            conv.kernel_size,  # type: ignore[arg-type]
            sizes["rank"],
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            bias=bool(sizes["bias"]),
            padding_mode=conv.padding_mode,
        )

    return make


LOW_RANK_LINEAR = EditKind(
    sizes=_SIZES,
    may_be_zero=("bias",),
    describes=of_class(LowRankLinear),
    replaces=is_dense,
    read=read_low_linear,
    make=_make_low_linear,
)
LOW_RANK_CONV2D = EditKind(
    sizes=_SIZES,
    may_be_zero=("bias",),
    describes=of_class(LowRankConv2d),
    replaces=is_convolution,
    read=_read_low_conv,
    make=_making(LowRankConv2d),
)
LOW_RANK_CONV2D_IN = EditKind(
    sizes=_SIZES,
    may_be_zero=("bias",),
    describes=of_class(LowRankConv2dIn),
    replaces=is_convolution,
    read=_read_low_conv,
    make=_making(LowRankConv2dIn),
)

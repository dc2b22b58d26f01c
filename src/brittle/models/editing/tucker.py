"""Nested layers in place of dense layers and convolutions."""

from __future__ import annotations

from torch import nn

from brittle.models.editing.kind import EditKind, Sizes, of_class
from brittle.models.editing.low_rank import is_convolution, is_dense
from brittle.models.editing.plain import window_of
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.tucker import TuckerConv2d, TuckerLinear


def _read_linear(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, TuckerLinear)
    channels, positions = module.modes
    rank = module.core.first.out_features if isinstance(module.core, LowRankLinear) else 0
    last = module.core.second if isinstance(module.core, LowRankLinear) else module.core
    assert isinstance(last, nn.Linear)
    return {
        "in_channels": channels,
        "in_positions": positions,
        "channels": _mixtures(module.channels),
        "positions": _mixtures(module.positions),
        "rank": rank,
        "out": last.out_features,
        "bias": int(last.bias is not None),
    }


def _mixtures(part: nn.Module) -> int:
    if isinstance(part, LowRankLinear):
        part = part.second
    return part.out_features if isinstance(part, nn.Linear) else 0


def _make_linear(module: nn.Module, sizes: Sizes) -> nn.Module:
    return TuckerLinear(
        sizes["in_channels"],
        sizes["in_positions"],
        sizes["out"],
        channels=sizes["channels"],
        positions=sizes["positions"],
        rank=sizes["rank"],
        bias=bool(sizes["bias"]),
    )


def _read_conv(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, TuckerConv2d)
    first, core = module.channels, module.core
    rank = core.first.out_channels if isinstance(core, LowRankConv2d) else 0
    last = core.second if isinstance(core, LowRankConv2d) else core
    assert isinstance(last, nn.Conv2d)
    sides = {"in": first.in_channels, "channels": first.out_channels, "rank": rank, "out": last.out_channels}
    return {**sides, "bias": int(last.bias is not None)}


def _make_conv(module: nn.Module, sizes: Sizes) -> nn.Module:
    conv = window_of(module)
    return TuckerConv2d(
        sizes["in"],
        sizes["out"],
        conv.kernel_size,  # type: ignore[arg-type]
        sizes["channels"],
        sizes["rank"],
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        bias=bool(sizes["bias"]),
        padding_mode=conv.padding_mode,
    )


def _may_be_linear(module: nn.Module) -> bool:
    return is_dense(module) or isinstance(module, TuckerLinear)


def _may_be_conv(module: nn.Module) -> bool:
    return is_convolution(module) or isinstance(module, TuckerConv2d)


TUCKER_LINEAR = EditKind(
    sizes=("in_channels", "in_positions", "channels", "positions", "rank", "out", "bias"),
    may_be_zero=("channels", "positions", "rank", "bias"),
    describes=of_class(TuckerLinear),
    replaces=_may_be_linear,
    read=_read_linear,
    make=_make_linear,
)
TUCKER_CONV2D = EditKind(
    sizes=("in", "channels", "rank", "out", "bias"),
    may_be_zero=("rank", "bias"),
    describes=of_class(TuckerConv2d),
    replaces=_may_be_conv,
    read=_read_conv,
    make=_make_conv,
)

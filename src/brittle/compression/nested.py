"""Nested layers: chosen layers read mixtures of their input's channels and positions, plainly or weighed by data.

Legend: h filters or neurons, C input channels, S positions of each (1 for a dense layer that is behind no flatten, k k
for a convolution), d = C S.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from brittle.compression.factorable import factorable, left_out
from brittle.compression.modes import Modes
from brittle.compression.moments import InputMoment
from brittle.compression.nested_factors import NestedFactors, nested_factors
from brittle.compression.nesting import Nesting
from brittle.compression.pairs import LOW_RANK, bias_of, kernel, kernel_shape, write_factors
from brittle.compression.whitened import RIDGE, lifted_moment
from brittle.errors import ModelError
from brittle.models.edits import adopt
from brittle.models.fit import check_finite
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.tucker import TuckerConv2d, TuckerLinear

NESTED = (TuckerLinear, TuckerConv2d)


def nest(
    model: nn.Module, sizes: Mapping[str, Nesting], *, moments: Mapping[str, InputMoment] | None = None
) -> nn.Module:
    """A copy of `model` in which the layers named in `sizes` are nested; the original is left alone.

    Factors are those of `brittle.compression.nested_factors`: for layers with an input moment in the mean square of the
    outputs on that data, else in Frobenius norm. A model's recipe follows, so that the copy can be saved.

    Args:
        model: any module.
        sizes: names of dense layers and convolutions -> nested sizes of their shapes.
        moments: of the inputs of layers, by name, from `input_moments`.

    Raises:
        ModelError: an unknown layer, one that cannot be factorised, weights that are not finite, or sizes or a moment
            of another shape.
    """
    check_modes(model, {name: Modes(each=wanted.shape[2]) for name, wanted in sizes.items()})
    layers = factorable(model)
    for name, wanted in sizes.items():
        for path, parameter in layers[name].named_parameters():
            check_finite(f"{name}.{path}", parameter)
        shape = tuple(kernel_shape(layers[name]))
        if (shape[0], *_channels_and_positions(shape, wanted.shape[2])) != wanted.shape:
            raise ModelError(f"layer {name!r} has a kernel of shape {shape}, the nested sizes are for {wanted.shape}")
    child = copy.deepcopy(model)
    for name, wanted in sizes.items():
        parent, _, leaf = name.rpartition(".")
        new = _nested(name, layers[name], wanted, (moments or {}).get(name))
        setattr(child.get_submodule(parent), leaf, new)
    return adopt(child, model)


def _channels_and_positions(shape: tuple[int, ...], each: int) -> tuple[int, int]:
    return (shape[1], prod(shape[2:])) if len(shape) > 2 else (shape[1] // each, each)


def nested_shape(layer: TuckerLinear | TuckerConv2d) -> tuple[int, ...]:
    """The kernel's shape of the layer that a nested one stands for, (h, d) or (h, c, k, k)."""
    h, _, *window = kernel_shape(layer.core)
    columns = prod(layer.modes) if isinstance(layer, TuckerLinear) else kernel_shape(layer.channels)[1]
    return (h, columns, *window)


def mixtures(layer: TuckerLinear | TuckerConv2d) -> tuple[int, int]:
    """Mixtures of channels and of positions that a nested layer reads, 0 where all stay."""
    parts = (layer.channels, getattr(layer, "positions", nn.Identity()))
    channels, positions = (0 if isinstance(part, nn.Identity) else kernel_shape(part)[0] for part in parts)
    return channels, positions


def check_modes(model: nn.Module, modes: Mapping[str, Modes]) -> None:
    """Refuse modes of layers that cannot have them, before any change.

    Raises:
        ModelError: an unknown layer, one that cannot be factorised, a pair, or positions that do not fit the inputs.
    """
    layers, refused = factorable(model), left_out(model)
    for name, mode in modes.items():
        if name in refused:
            raise ModelError(f"layer {name!r}: {refused[name]}")
        if name not in layers or isinstance(layers[name], LOW_RANK):
            plain = [other for other, layer in layers.items() if not isinstance(layer, LOW_RANK)]
            raise ModelError(
                f"no dense layer or convolution {name!r} to nest: expected one of {', '.join(plain) or 'none'}"
            )
        columns = kernel_shape(layers[name])[1]
        if isinstance(layers[name], nn.Linear) and (mode.each < 1 or columns % mode.each):
            raise ModelError(
                f"layer {name!r} reads {columns} inputs, which are no channels of {mode.each} positions: give the "
                "height * width of the map before its flatten, or 1"
            )
        if min(mode.channels, mode.positions) < 0:
            raise ModelError(
                f"layer {name!r}: numbers of mixtures must be at least 0, got {mode.channels} of channels and "
                f"{mode.positions} of positions"
            )


@torch.no_grad()
def nested_layer(layer: nn.Module, factors: NestedFactors, wanted: Nesting, bias: Tensor | None) -> nn.Module:
    """The module of these factors in the place of `layer`; dtype, device, mode and `requires_grad` are the layer's."""
    h, c, each = wanted.shape
    if isinstance(layer, nn.Conv2d):
        made: TuckerConv2d | TuckerLinear = TuckerConv2d(
            c,
            h,
            layer.kernel_size,  # type: ignore[arg-type]
            wanted.channels,
            wanted.rank,
            stride=layer.stride,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            dilation=layer.dilation,  # type: ignore[arg-type]
            bias=bias is not None,
            padding_mode=layer.padding_mode,
        )
    else:
        made = TuckerLinear(
            c, each, h, channels=wanted.channels, positions=wanted.positions, rank=wanted.rank, bias=bias is not None
        )
    like = next(layer.parameters())
    made = made.to(like)
    for part, values in ((made.channels, factors.channels), (getattr(made, "positions", None), factors.positions)):
        if values is not None:
            assert isinstance(part, nn.Linear | nn.Conv2d)
            part.weight.copy_(values.view_as(part.weight))
    core = made.core
    if isinstance(core, LowRankLinear | LowRankConv2d):
        assert factors.pair is not None
        write_factors(core, *factors.pair)
    else:
        assert isinstance(core, nn.Linear | nn.Conv2d)
        core.weight.copy_(factors.core.reshape(core.weight.shape))
    if bias is not None:
        last = bias_of(core)
        assert last is not None
        last.copy_(bias)
    made.requires_grad_(like.requires_grad)
    return made.train(layer.training)


@torch.no_grad()
def _nested(name: str, layer: nn.Module, wanted: Nesting, moment: InputMoment | None) -> nn.Module:
    weight, bias = kernel(layer).reshape(wanted.shape), bias_of(layer)
    size = weight[0].numel()
    if moment is None:
        identity = torch.eye(size, dtype=weight.dtype, device=weight.device)
        return nested_layer(layer, nested_factors(weight, identity, wanted), wanted, bias)
    if len(moment.mean) != size:
        raise ModelError(
            f"layer {name!r}: its inputs have {size} entries, the moment is of {len(moment.mean)}: take the moments "
            "of this model"
        )
    # A bias can make up for the mean of what is cut away, so only the rest has to be fitted.
    weigh = moment.second if bias is None else moment.covariance()
    factors = nested_factors(weight, lifted_moment(weigh.to(weight), RIDGE), wanted)
    if bias is not None:
        bias = bias.double() + (weight - factors.product()).flatten(1) @ moment.mean.to(weight)
    return nested_layer(layer, factors, wanted, bias)

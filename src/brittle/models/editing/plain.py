"""Dense layers, convolutions and norms of other sizes. Their class stays, so a subclass keeps what it adds."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from brittle.errors import ModelError
from brittle.models.editing.kind import EditKind, Sizes, new_parameter, of_class
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.models.tucker import TuckerConv2d

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def window_of(module: nn.Module) -> Convolution:
    """The convolution that has the kernel, step and padding: the module, or one of a low-rank pair or nested layer."""
    if isinstance(module, TuckerConv2d):
        return window_of(module.core)
    if isinstance(module, LowRankConv2d):
        return module.first
    if isinstance(module, LowRankConv2dIn):
        return module.second
    assert isinstance(module, Convolution)
    return module


def read_linear(module: nn.Module) -> dict[str, int]:
    """Sizes of a dense layer."""
    assert isinstance(module, nn.Linear)
    return {"in": module.in_features, "out": module.out_features, "bias": int(module.bias is not None)}


def _make_linear(module: nn.Module, sizes: Sizes) -> nn.Module:
    layer = module.second if isinstance(module, LowRankLinear) else module
    assert isinstance(layer, nn.Linear)
    layer.in_features, layer.out_features = sizes["in"], sizes["out"]
    layer.weight = new_parameter(sizes["out"], sizes["in"])
    layer.register_parameter("bias", new_parameter(sizes["out"]) if sizes["bias"] else None)
    layer.reset_parameters()
    return layer


def _read_conv(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, Convolution)
    sides = {"in": module.in_channels, "out": module.out_channels, "groups": module.groups}
    return {**sides, "bias": int(module.bias is not None)}


def _make_conv(module: nn.Module, sizes: Sizes) -> nn.Module:
    conv = window_of(module)
    inputs, outputs, groups = sizes["in"], sizes["out"], sizes["groups"]
    if inputs % groups or outputs % groups:
        raise ModelError(
            f"groups must divide both sides of a convolution, got {groups} groups for {inputs} and {outputs} channels"
        )
    conv.in_channels, conv.out_channels, conv.groups = inputs, outputs, groups
    conv.weight = new_parameter(outputs, inputs // groups, *conv.kernel_size)
    conv.register_parameter("bias", new_parameter(outputs) if sizes["bias"] else None)
    conv.reset_parameters()
    return conv


def _read_batch_norm(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, _NormBase)
    return {"features": module.num_features}


def _make_batch_norm(module: nn.Module, sizes: Sizes) -> nn.Module:
    assert isinstance(module, _NormBase)
    module.num_features = sizes["features"]
    if module.affine:
        module.weight, module.bias = new_parameter(sizes["features"]), new_parameter(sizes["features"])
    if module.running_mean is not None:
        module.running_mean, module.running_var = torch.zeros(sizes["features"]), torch.ones(sizes["features"])
    module.reset_parameters()
    return module


def _has_one_axis(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1


def _read_layer_norm(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, nn.LayerNorm)
    return {"features": module.normalized_shape[0]}


def _make_layer_norm(module: nn.Module, sizes: Sizes) -> nn.Module:
    assert isinstance(module, nn.LayerNorm)
    module.normalized_shape = (sizes["features"],)
    for name in ("weight", "bias"):
        if getattr(module, name) is not None:
            setattr(module, name, new_parameter(sizes["features"]))
    module.reset_parameters()
    return module


def _read_group_norm(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, nn.GroupNorm)
    return {"channels": module.num_channels, "groups": module.num_groups}


def _make_group_norm(module: nn.Module, sizes: Sizes) -> nn.Module:
    assert isinstance(module, nn.GroupNorm)
    channels, groups = sizes["channels"], sizes["groups"]
    if channels % groups:
        raise ModelError(f"groups must divide the channels of a norm, got {groups} groups for {channels} channels")
    module.num_channels, module.num_groups = channels, groups
    if module.affine:
        module.weight, module.bias = new_parameter(channels), new_parameter(channels)
    module.reset_parameters()
    return module


def _read_prelu(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, nn.PReLU)
    return {"channels": module.num_parameters}


def _make_prelu(module: nn.Module, sizes: Sizes) -> nn.Module:
    assert isinstance(module, nn.PReLU)
    module.num_parameters = sizes["channels"]
    module.weight = new_parameter(sizes["channels"])
    module.reset_parameters()
    return module


LINEAR = EditKind(
    sizes=("in", "out", "bias"),
    may_be_zero=("bias",),
    describes=of_class(nn.Linear),
    replaces=of_class(nn.Linear, LowRankLinear),
    read=read_linear,
    make=_make_linear,
)


def _convolutions(kind: type[Convolution], *pairs: type[nn.Module]) -> EditKind:
    return EditKind(
        sizes=("in", "out", "groups", "bias"),
        may_be_zero=("bias",),
        describes=of_class(kind),
        replaces=of_class(kind, *pairs),
        read=_read_conv,
        make=_make_conv,
    )


CONV1D = _convolutions(nn.Conv1d)
CONV2D = _convolutions(nn.Conv2d, LowRankConv2d, LowRankConv2dIn)
CONV3D = _convolutions(nn.Conv3d)
BATCH_NORM = EditKind(
    sizes=("features",),
    may_be_zero=(),
    describes=of_class(_NormBase),
    replaces=of_class(_NormBase),
    read=_read_batch_norm,
    make=_make_batch_norm,
)
LAYER_NORM = EditKind(
    sizes=("features",),
    may_be_zero=(),
    describes=_has_one_axis,
    replaces=_has_one_axis,
    read=_read_layer_norm,
    make=_make_layer_norm,
)
GROUP_NORM = EditKind(
    sizes=("channels", "groups"),
    may_be_zero=(),
    describes=of_class(nn.GroupNorm),
    replaces=of_class(nn.GroupNorm),
    read=_read_group_norm,
    make=_make_group_norm,
)
PRELU = EditKind(
    sizes=("channels",),
    may_be_zero=(),
    describes=of_class(nn.PReLU),
    replaces=of_class(nn.PReLU),
    read=_read_prelu,
    make=_make_prelu,
)

"""Modules with fewer positions on their sides, made in place; weights that stay are copied exactly.

Legend: masks are boolean (h,) over outputs and (d,) over inputs, True where a position stays.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brittle.compression.couplings.sides import CONVOLUTIONS
from brittle.errors import ModelError
from brittle.models.attention import SelfAttention
from brittle.models.vit_blocks import Attention


def cut(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    """Remove positions from the sides of a module; None leaves a side alone.

    Raises:
        ModelError: a class that has no sides, or a group of a convolution that would go in part.
    """
    for classes, cutter in _CUTTERS:
        if isinstance(module, classes):
            cutter(module, outputs, inputs)
            return
    raise ModelError(f"a {type(module).__name__} cannot lose channels: leave it out of the plan")


def set_heads(module: nn.Module, heads: int) -> None:
    """Tell an attention module, whose layers were cut, how many heads are left; their width stays.

    Raises:
        ModelError: a class that is no attention.
    """
    if isinstance(module, Attention | SelfAttention):
        module.heads = heads
        return
    qkv = getattr(module, "qkv", None)
    if not isinstance(qkv, nn.Linear) or not hasattr(module, "num_heads"):
        raise ModelError(f"a {type(module).__name__} has no heads to remove: leave it out of the plan")
    module.num_heads = heads  # type: ignore[assignment]
    if hasattr(module, "attn_dim"):
        module.attn_dim = qkv.out_features // 3  # type: ignore[assignment]


def _linear(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    assert isinstance(module, nn.Linear)
    _rows_and_columns(module, outputs, inputs)
    module.out_features, module.in_features = module.weight.shape


def _convolution(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    """With groups, whole groups go, inputs and outputs alike, so the inputs follow from the outputs."""
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    if module.groups > 1:
        if outputs is not None:
            stay = outputs.view(module.groups, -1)
            if bool((stay.any(1) != stay.all(1)).any()):
                raise ModelError("a group of a convolution can only go as a whole: remove all of its channels")
            module.groups = int(stay.all(1).sum())
        inputs = None
    _rows_and_columns(module, outputs, inputs)
    module.out_channels = module.weight.shape[0]
    module.in_channels = module.weight.shape[1] * module.groups


def _norm(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    assert isinstance(module, _BatchNorm)
    if outputs is None:
        return
    for name in ("weight", "bias"):
        _shorten(module, name, outputs, 0)
    for name in ("running_mean", "running_var"):
        buffer = module._buffers.get(name)
        if buffer is not None:
            module._buffers[name] = buffer[outputs.to(buffer.device)].clone()
    module.num_features = int(outputs.sum())


def _prelu(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    assert isinstance(module, nn.PReLU)
    if outputs is not None:
        _shorten(module, "weight", outputs, 0)
        module.num_parameters = int(outputs.sum())


_CUTTERS: tuple[tuple[tuple[type[nn.Module], ...], Callable[[nn.Module, Tensor | None, Tensor | None], None]], ...] = (
    ((nn.Linear,), _linear),
    (CONVOLUTIONS, _convolution),
    ((_BatchNorm,), _norm),
    ((nn.PReLU,), _prelu),
)


def _rows_and_columns(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    if outputs is not None:
        _shorten(module, "weight", outputs, 0)
        _shorten(module, "bias", outputs, 0)
    if inputs is not None:
        _shorten(module, "weight", inputs, 1)


def _shorten(module: nn.Module, name: str, stay: Tensor, axis: int) -> None:
    old = module._parameters.get(name)
    if old is not None:
        chosen = stay.nonzero().squeeze(1).to(old.device)
        new = torch.index_select(old.detach(), axis, chosen)
        module._parameters[name] = nn.Parameter(new, requires_grad=old.requires_grad)

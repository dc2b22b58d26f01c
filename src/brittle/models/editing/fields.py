"""Changes of a module's own numbers and tensors: heads of attention, the width of tokens, padded shortcuts.

Modules of other packages are known by name, so that none of these packages is needed to read a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from brittle.models.editing.kind import EditKind, Sizes


def fields(
    package: str,
    name: str,
    numbers: tuple[str, ...] = (),
    tensors: Mapping[str, tuple[int, str]] | None = None,
    may_be_zero: tuple[str, ...] = (),
) -> EditKind:
    """A kind that sets attributes of one class, and resizes its own parameters.

    Args:
        package: where the class is defined ("torchvision" for any of its modules).
        name: of the class.
        numbers: attributes that hold whole numbers.
        tensors: names of own parameters -> the axis that is resized, and the name of its size.
        may_be_zero: attributes that can be 0.
    """
    axes = dict(tensors or {})
    # A size may be a number and the length of an axis at once.
    sizes = tuple(dict.fromkeys((*numbers, *(size for _, size in axes.values()))))

    def describes(module: nn.Module) -> bool:
        known = any(
            c.__name__ == name and (c.__module__ == package or c.__module__.startswith(f"{package}."))
            for c in type(module).__mro__
        )
        return known and all(type(vars(module).get(number)) is int for number in numbers)

    def read(module: nn.Module) -> dict[str, int]:
        lengths = {
            size: getattr(module, tensor).shape[axis]
            for tensor, (axis, size) in axes.items()
            if getattr(module, tensor, None) is not None
        }
        return {**lengths, **{number: getattr(module, number) for number in numbers}}

    def make(module: nn.Module, values: Sizes) -> nn.Module:
        for number in numbers:
            setattr(module, number, values[number])
        for tensor, (axis, size) in axes.items():
            old = getattr(module, tensor, None)
            if old is not None:
                shape = list(old.shape)
                shape[axis] = values[size]
                setattr(module, tensor, nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02)))
        return module

    return EditKind(sizes, may_be_zero, describes, describes, read, make)


def _with_scale(kind: EditKind) -> EditKind:
    """timm's attention keeps 1 / sqrt(width of a head) beside the width."""

    def make(module: nn.Module, values: Sizes) -> nn.Module:
        module = kind.make(module, values)
        module.scale = values["head_dim"] ** -0.5
        return module

    return EditKind(kind.sizes, kind.may_be_zero, kind.describes, kind.replaces, kind.read, make)


ATTENTION = fields("brittle.models.vit_blocks", "Attention", ("heads",))
POSITIONS = fields("brittle.models.vit_blocks", "Positions", tensors={"weight": (1, "dim")})
PAD_SHORTCUT = fields("brittle.models.blocks", "PadShortcut", ("before", "after"), may_be_zero=("before", "after"))
TIMM_ATTENTION = _with_scale(fields("timm", "Attention", ("num_heads", "head_dim", "attn_dim")))
TIMM_VIT = fields(
    "timm",
    "VisionTransformer",
    ("embed_dim", "num_features", "head_hidden_size"),
    dict.fromkeys(("cls_token", "reg_token", "pos_embed"), (2, "embed_dim")),
)
TIMM_LAYER_SCALE = fields("timm", "LayerScale", tensors={"gamma": (0, "dim")})
TORCHVISION_VIT = fields("torchvision", "VisionTransformer", ("hidden_dim",), {"class_token": (2, "hidden_dim")})
TORCHVISION_ENCODER = fields("torchvision", "Encoder", tensors={"pos_embedding": (2, "dim")})

"""torch's attention with its q, k, v and output as layers of their own: the same map, open to removal and ranks."""

from __future__ import annotations

import torch
from torch import nn

from brittle.compression.duplicate import copied
from brittle.errors import ModelError
from brittle.models.attention import SelfAttention, check_multihead
from brittle.models.edits import adopt


def opened(model: nn.Module) -> nn.Module:
    """A copy of `model` with a `SelfAttention` wherever torch's `nn.MultiheadAttention` can give way to one.

    Its parts "q", "k", "v" and "proj" can then be factorised, and hooks see the heads. The original is left alone; a
    recipe follows.

    Raises:
        ModelError: the model cannot be copied.
    """
    child = copied(model)
    for path, module in list(child.named_modules()):
        if path and type(module) is nn.MultiheadAttention and _can_open(module):
            open_attention(child, path)
    return adopt(child, model)


def open_attention(model: nn.Module, path: str) -> None:
    """Put a `SelfAttention` with the same weights in the place of the `nn.MultiheadAttention` at `path`.

    Raises:
        ModelError: attention that cannot give way (see `check_multihead`).
    """
    attention = model.get_submodule(path)
    assert isinstance(attention, nn.MultiheadAttention)
    with torch.no_grad():
        own = SelfAttention.from_multihead(attention)
    for name in ("q", "k", "v"):
        own.get_submodule(name).requires_grad_(attention.in_proj_weight.requires_grad)
    own.proj.requires_grad_(attention.out_proj.weight.requires_grad)
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, own)


def _can_open(attention: nn.MultiheadAttention) -> bool:
    try:
        check_multihead(attention)
    except ModelError:
        return False
    return True

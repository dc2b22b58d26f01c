"""Weights that hold queries, keys and values at once: which rows are whose. A literal table of known modules.

A name such as "qkv" proves nothing: some modules keep the three one after the other, others head by head. So only
modules whose code was read stand here; any other fused weight is measured whole. Legend: h rows of the fused weight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Rows = dict[str, slice | Tensor]


def one_after_another(names: str) -> Callable[[nn.Module, int], Rows | None]:
    """Equal parts of the rows, in the order of `names`, one letter each."""

    def rows(_attention: nn.Module, h: int) -> Rows | None:
        size, rest = divmod(h, len(names))
        return None if rest else {name: slice(i * size, (i + 1) * size) for i, name in enumerate(names)}

    return rows


def head_by_head(attention: nn.Module, h: int) -> Rows | None:
    """Queries, keys and values of the first head, then of the second, and so on."""
    count = getattr(attention, "num_heads", None) or getattr(attention, "num_attention_heads", None)
    if not isinstance(count, int) or h % (3 * count):
        return None
    places = torch.arange(h).view(count, 3, -1)
    return {name: places[:, i].flatten() for i, name in enumerate("qkv")}


def _max_vit(attention: nn.Module, h: int) -> Rows | None:
    return (head_by_head if getattr(attention, "head_first", True) else _QKV)(attention, h)


def _gpt2(attention: nn.Module, h: int) -> Rows | None:
    return one_after_another("kv" if getattr(attention, "is_cross_attention", False) else "qkv")(attention, h)


_QKV = one_after_another("qkv")
_TIMM = {
    "timm.layers.attention": ("Attention", "AttentionRope"),
    "timm.layers.diff_attention": ("DiffAttention",),
    "timm.models.beit": ("Attention",),
    "timm.models.cait": ("TalkingHeadAttn",),
    "timm.models.eva": ("EvaAttention",),
    "timm.models.metaformer": ("Attention",),
    "timm.models.mvitv2": ("MultiScaleAttention",),
    "timm.models.nest": ("Attention",),
    "timm.models.swin_transformer": ("WindowAttention",),
    "timm.models.swin_transformer_v2": ("WindowAttention",),
    "timm.models.swin_transformer_v2_cr": ("WindowMultiHeadAttention",),
    "timm.models.vision_transformer": ("Attention",),  # its place in older releases
    "timm.models.vision_transformer_relpos": ("RelPosAttention",),
    "timm.models.vision_transformer_sam": ("Attention",),
    "timm.models.volo": ("Attention",),
    "timm.models.xcit": ("XCA",),
}

# Class of the attention module -> the attribute that holds the fused layer, and how its rows are shared out.
FUSED: dict[str, tuple[str, Callable[[nn.Module, int], Rows | None]]] = {
    **{f"{module}.{name}": ("qkv", _QKV) for module, names in _TIMM.items() for name in names},
    "timm.models.maxxvit.AttentionCl": ("qkv", _max_vit),
    "transformers.models.bloom.modeling_bloom.BloomAttention": ("query_key_value", head_by_head),
    "transformers.models.gpt2.modeling_gpt2.GPT2Attention": ("c_attn", _gpt2),
    "transformers.models.gpt_neox.modeling_gpt_neox.GPTNeoXAttention": ("query_key_value", head_by_head),
    "transformers.models.modernbert.modeling_modernbert.ModernBertAttention": ("Wqkv", _QKV),
}


def fused_rows(attention: nn.Module | None, layer: str, h: int) -> Rows | None:
    """Which of the h rows of `attention.layer` are queries ("q"), keys ("k"), values ("v"); None: not a known one."""
    for cls in type(attention).__mro__:
        known = FUSED.get(f"{cls.__module__}.{cls.__qualname__}")
        if known is not None and attention is not None and known[0] == layer:
            return known[1](attention, h)
    return None

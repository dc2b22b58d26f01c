"""Attention with removed heads in place of torch's own."""

from __future__ import annotations

from torch import nn

from brittle.models.attention import SelfAttention, check_multihead
from brittle.models.editing.kind import EditKind, Sizes, of_class
from brittle.models.editing.low_rank import read_low_linear
from brittle.models.editing.plain import read_linear
from brittle.models.layers import LowRankLinear


def _read(module: nn.Module) -> dict[str, int]:
    assert isinstance(module, SelfAttention)
    q = read_low_linear(module.q) if isinstance(module.q, LowRankLinear) else read_linear(module.q)
    return {"dim": q["in"], "inner": q["out"], "heads": module.heads, "bias": q["bias"]}


def _make(module: nn.Module, sizes: Sizes) -> nn.Module:
    assert isinstance(module, SelfAttention | nn.MultiheadAttention)
    if isinstance(module, nn.MultiheadAttention):
        check_multihead(module)
    return SelfAttention(sizes["dim"], sizes["inner"], sizes["heads"], bool(sizes["bias"]), module.dropout)


SELF_ATTENTION = EditKind(
    sizes=("dim", "inner", "heads", "bias"),
    may_be_zero=("bias",),
    describes=of_class(SelfAttention),
    replaces=of_class(SelfAttention, nn.MultiheadAttention),
    read=_read,
    make=_make,
)

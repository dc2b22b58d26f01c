"""Multi-head attention whose inner width may be another than the model's: what is left when heads are removed.

Legend: b batch, n tokens, d width of a token, e inner width (heads times the width of a head).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from brittle.errors import ModelError


class SelfAttention(nn.Module):
    """`softmax(q k^t / sqrt(e / heads)) v` for each head, heads joined and projected, called as torch's own attention.

    It stands in for `nn.MultiheadAttention`, which cannot have an inner width of its own: "q", "k", "v" (d to e) and
    "proj" (e to d) are layers, so heads can be removed and each layer can be factorised. Batches come first, queries,
    keys and values are the same tokens, there are no masks, and no attention weights are returned.

    Args:
        dim: d.
        inner: e, a multiple of `heads`.
        heads: number of heads.
        bias: whether the four layers have biases.
        dropout: share of attention weights set to zero in training.

    Raises:
        ModelError: heads that do not divide the inner width.
    """

    # What torch's encoder layer asks its attention before it takes a short cut; these answers make it take none.
    batch_first = True
    in_proj_bias = None

    def __init__(self, dim: int, inner: int, heads: int, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or inner % heads:
            raise ModelError(f"heads must divide the inner width of attention, got {heads} heads for width {inner}")
        self.heads = heads
        self.dropout = dropout
        self.q = nn.Linear(dim, inner, bias=bias)
        self.k = nn.Linear(dim, inner, bias=bias)
        self.v = nn.Linear(dim, inner, bias=bias)
        self.proj = nn.Linear(inner, dim, bias=bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """(b, n, d) -> (b, n, d), None.

        Raises:
            ModelError: masks, which this attention does not take.
        """
        if key_padding_mask is not None or attn_mask is not None or is_causal:
            raise ModelError("attention with removed heads takes no masks: call it on whole sequences, without a mask")
        key = query if key is None else key
        value = key if value is None else value
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, query), (self.k, key), (self.v, value))
        )
        weights = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(-1)
        weights = functional.dropout(weights, self.dropout, self.training)
        return self.proj((weights @ v).transpose(1, 2).flatten(2)), None

    @classmethod
    def from_multihead(cls, attention: nn.MultiheadAttention) -> SelfAttention:
        """The same map with all its heads, from torch's module; dtype, device and mode are kept.

        Raises:
            ModelError: batches that do not come first, keys or values of another width, or tokens added to them.
        """
        check_multihead(attention)
        new = cls(
            attention.embed_dim,
            attention.embed_dim,
            attention.num_heads,
            bias=attention.in_proj_bias is not None,
            dropout=attention.dropout,
        ).to(attention.out_proj.weight)
        with torch.no_grad():
            for i, layer in enumerate((new.q, new.k, new.v)):
                layer.weight.copy_(attention.in_proj_weight.chunk(3)[i])
                if attention.in_proj_bias is not None:
                    layer.bias.copy_(attention.in_proj_bias.chunk(3)[i])
            new.proj.weight.copy_(attention.out_proj.weight)
            if attention.out_proj.bias is not None:
                new.proj.bias.copy_(attention.out_proj.bias)
        return new.train(attention.training)


def check_multihead(attention: nn.MultiheadAttention) -> None:
    """Refuse attention of torch's that `SelfAttention` cannot stand in for.

    Raises:
        ModelError: batches that do not come first, keys or values of another width, or tokens added to them.
    """
    if not attention.batch_first:
        raise ModelError("attention with batches in second place cannot lose heads: build it with batch_first=True")
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
        raise ModelError(
            "only self-attention can lose heads: expected keys and values of the queries' width, without added tokens"
        )

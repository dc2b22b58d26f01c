"""Attention that can lose heads, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.errors import ModelError
from brittle.models.attention import SelfAttention

X = torch.rand(2, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _theirs(bias: bool = True, **options: object) -> nn.MultiheadAttention:
    attention = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True, **options).double().eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    return attention


@pytest.mark.parametrize("bias", [True, False])
def test_all_heads_give_the_same_map(bias: bool) -> None:
    theirs = _theirs(bias)
    ours = SelfAttention.from_multihead(theirs)
    torch.testing.assert_close(
        ours(X, X, X, need_weights=False)[0], theirs(X, X, X, need_weights=False)[0], rtol=1e-9, atol=1e-9
    )
    assert ours(X)[1] is None
    assert (ours.proj.bias is None) == (not bias)
    assert not ours.training
    assert SelfAttention.from_multihead(theirs.train()).training


def test_a_removed_head_is_a_head_whose_output_is_not_read() -> None:
    """The reference hides the middle head by zeros in the projection; ours has really lost it."""
    theirs = _theirs()
    ours = SelfAttention.from_multihead(theirs)
    kept = [*range(4), *range(8, 12)]
    small = SelfAttention(12, 8, 2).double()
    with torch.no_grad():
        theirs.out_proj.weight[:, 4:8] = 0
        for name in ("q", "k", "v"):
            getattr(small, name).weight.copy_(getattr(ours, name).weight[kept])
            getattr(small, name).bias.copy_(getattr(ours, name).bias[kept])
        small.proj.weight.copy_(ours.proj.weight[:, kept])
        small.proj.bias.copy_(ours.proj.bias)
    torch.testing.assert_close(small(X)[0], theirs(X, X, X)[0], rtol=1e-9, atol=1e-9)


def test_keys_and_values_may_be_other_tokens() -> None:
    theirs = _theirs()
    other = X.flip(1)[:, :3] * 2
    ours = SelfAttention.from_multihead(theirs)
    torch.testing.assert_close(ours(X, other)[0], theirs(X, other, other)[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours(X, X, X * 2)[0], theirs(X, X, X * 2)[0], rtol=1e-9, atol=1e-9)


def test_dropout_in_training_only() -> None:
    ours = SelfAttention.from_multihead(_theirs(dropout=0.5))
    assert torch.equal(ours(X)[0], ours(X)[0])
    assert not torch.equal(ours.train()(X)[0], ours(X)[0])


def test_in_a_layer_of_torchs_encoder() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 8, batch_first=True).double().eval()
    with torch.no_grad():
        expected = layer(X)
        layer.self_attn = SelfAttention.from_multihead(layer.self_attn)
        torch.testing.assert_close(layer(X), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "mask", [{"attn_mask": torch.zeros(5, 5)}, {"key_padding_mask": torch.zeros(2, 5)}, {"is_causal": True}]
)
def test_masks_are_refused(mask: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="takes no masks: call it on whole sequences"):
        SelfAttention(12, 8, 2).double()(X, **mask)


@pytest.mark.parametrize("options", [{"kdim": 6}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_other_attention_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="only self-attention can lose heads"):
        SelfAttention.from_multihead(nn.MultiheadAttention(12, 3, batch_first=True, **options))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="build it with batch_first=True"):
        SelfAttention.from_multihead(nn.MultiheadAttention(12, 3))


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_divide_the_inner_width(heads: int) -> None:
    with pytest.raises(ModelError, match=f"heads must divide the inner width of attention, got {heads} heads for"):
        SelfAttention(12, 8, heads)

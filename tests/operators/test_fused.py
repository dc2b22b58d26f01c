"""Which rows of a fused weight are queries, keys and values: proved by what shifting them does to the attention.

A shift of all keys moves every score of a query by the same amount, which softmax does not see; a shift of all values
moves every output by the same vector; a shift of the queries does neither.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn

from brittle.operators.fused import FUSED, fused_rows, head_by_head, one_after_another
from tests.vision import need_timm, need_torchvision


def _timm(module: str, name: str, **options: object) -> Callable[[], tuple[nn.Module, str, Tensor]]:
    def make() -> tuple[nn.Module, str, Tensor]:
        need_timm()
        attention = getattr(import_module(module), name)(8, num_heads=2, qkv_bias=True, **options)
        return attention, "qkv", torch.randn(2, 9, 8, dtype=torch.float64)

    return make


def _swin() -> tuple[nn.Module, str, Tensor]:
    need_timm()
    from timm.models.swin_transformer import WindowAttention

    return WindowAttention(8, num_heads=2, window_size=(3, 3)), "qkv", torch.randn(2, 9, 8, dtype=torch.float64)


def _max_vit(head_first: bool) -> Callable[[], tuple[nn.Module, str, Tensor]]:
    def make() -> tuple[nn.Module, str, Tensor]:
        need_timm()
        from timm.models.maxxvit import AttentionCl

        attention = AttentionCl(8, dim_head=4, head_first=head_first)
        return attention, "qkv", torch.randn(2, 9, 8, dtype=torch.float64)

    return make


def _gpt2() -> tuple[nn.Module, str, Tensor]:
    need_torchvision()
    tr = pytest.importorskip("transformers")
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

    config = tr.GPT2Config(n_embd=8, n_head=2, n_positions=12, bos_token_id=0, eos_token_id=1)
    config._attn_implementation = "eager"
    return GPT2Attention(config, layer_idx=0), "c_attn", torch.randn(2, 9, 8, dtype=torch.float64)


MADE = {
    "ViT": _timm("timm.layers.attention", "Attention"),
    "rotary": _timm("timm.layers.attention", "AttentionRope"),
    "talking heads": _timm("timm.models.cait", "TalkingHeadAttn"),
    "SAM": _timm("timm.models.vision_transformer_sam", "Attention", input_size=(3, 3), use_rel_pos=False),
    "Swin": _swin,
    "MaxViT, head by head": _max_vit(True),
    "MaxViT, one after another": _max_vit(False),
    "GPT-2": _gpt2,
}


@pytest.mark.parametrize("name", MADE)
def test_shifts_of_keys_are_not_seen_and_shifts_of_values_are_everywhere_the_same(name: str) -> None:
    torch.manual_seed(0)
    attention, layer, x = MADE[name]()
    if name == "SAM":
        x = x.view(2, 3, 3, 8)
    attention = attention.double().eval()
    fused = attention.get_submodule(layer)
    with torch.no_grad():
        fused.bias.normal_()  # type: ignore[union-attr,operator]
    rows = fused_rows(attention, layer, 24)
    assert rows is not None
    assert sorted(torch.cat([torch.arange(24)[places] for places in rows.values()]).tolist()) == list(range(24))

    def out() -> Tensor:
        with torch.no_grad():
            y = attention(x)
        return (y[0] if isinstance(y, tuple) else y).reshape(-1, 8)

    before = out()
    moved = {}
    for letter, places in rows.items():
        shift = torch.zeros(24, dtype=torch.float64)
        shift[places] = torch.randn(8, dtype=torch.float64)
        with torch.no_grad():
            fused.bias += shift  # type: ignore[operator]
            moved[letter] = out() - before
            fused.bias -= shift  # type: ignore[operator]
    assert float(moved["k"].abs().max()) < 1e-9
    assert float((moved["v"] - moved["v"][0]).abs().max()) < 1e-9 < float(moved["v"].abs().max())
    assert float((moved["q"] - moved["q"][0]).abs().max()) > 1e-6


def test_every_known_class_exists_where_its_package_is_installed() -> None:
    need_timm()
    pytest.importorskip("transformers")
    gone = {"timm.models.vision_transformer.Attention"}  # in older releases
    for path in set(FUSED) - gone:
        module, _, name = path.rpartition(".")
        assert isinstance(getattr(import_module(module), name), type), path


def test_other_modules_and_odd_sizes_are_left_whole() -> None:
    class Own(nn.Module):
        num_heads = 2

    assert fused_rows(Own(), "qkv", 24) is None
    assert fused_rows(None, "qkv", 24) is None
    assert one_after_another("qkv")(Own(), 25) is None
    assert head_by_head(Own(), 25) is None
    assert head_by_head(nn.Linear(1, 1), 24) is None


def test_cross_attention_of_gpt2_has_keys_and_values_only() -> None:
    need_torchvision()
    pytest.importorskip("transformers")
    attention, layer, _ = _gpt2()
    attention.is_cross_attention = True
    assert list(fused_rows(attention, layer, 16) or ()) == ["k", "v"]

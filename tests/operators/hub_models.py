"""Small transformers of other packages with random weights, each with what one input of it looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from tests.vision import need_timm, need_torchvision

Made = tuple[nn.Module, tuple[int, ...] | None]
IMAGE = (3, 32, 32)


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def torchvision_vit(**options: Any) -> Made:
    need_torchvision()
    from torchvision.models import VisionTransformer

    small = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    with _seeded():
        return VisionTransformer(**{**small, "num_classes": 5, **options}).eval(), IMAGE


def timm_vit() -> Made:
    need_timm()
    import timm

    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    with _seeded():
        return timm.create_model("vit_tiny_patch16_224", **small).eval(), IMAGE


def timm_swin() -> Made:
    need_timm()
    import timm

    small = {"img_size": 28, "embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 7, "num_classes": 5}
    with _seeded():
        return timm.create_model("swin_tiny_patch4_window7_224", **small).eval(), (3, 28, 28)


def _transformers() -> Any:
    need_torchvision()
    return pytest.importorskip("transformers", reason="transformers is an extra: pip install 'brittle[hub]'")


_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
_WORDS = {"vocab_size": 40, "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_PATCHES = {**_TEXT, "image_size": 32, "patch_size": 8}


def bert() -> Made:
    tr = _transformers()
    with _seeded():
        return tr.BertForMaskedLM(tr.BertConfig(**_TEXT, **_WORDS)).eval(), None


def clip() -> Made:
    tr = _transformers()
    config = tr.CLIPConfig(text_config={**_TEXT, **_WORDS}, vision_config=_PATCHES, projection_dim=8)
    with _seeded():
        return tr.CLIPModel(config).eval(), None


def gpt2() -> Made:
    tr = _transformers()
    config = tr.GPT2Config(
        n_embd=16, n_layer=1, n_head=2, n_positions=12, vocab_size=40, bos_token_id=0, eos_token_id=1
    )
    with _seeded():
        return tr.GPT2LMHeadModel(config).eval(), None


def mixtral() -> Made:
    tr = _transformers()
    config = tr.MixtralConfig(**_TEXT, **_WORDS, num_key_value_heads=1, num_local_experts=3)
    with _seeded():
        return tr.MixtralForCausalLM(config).eval(), None


def gpt_oss() -> Made:
    tr = _transformers()
    config = tr.GptOssConfig(**_TEXT, **_WORDS, num_key_value_heads=1, num_local_experts=3, head_dim=8)
    with _seeded():
        return tr.GptOssForCausalLM(config).eval(), None


def hf_vit() -> Made:
    tr = _transformers()

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tr.ViTForImageClassification(tr.ViTConfig(**_PATCHES, num_labels=5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.net(x).logits
            return logits

    with _seeded():
        return Logits().eval(), IMAGE


SMALL: dict[str, Callable[[], Made]] = {
    "torchvision ViT": torchvision_vit,
    "timm ViT": timm_vit,
    "timm Swin": timm_swin,
    "HF ViT": hf_vit,
    "HF BERT": bert,
    "HF CLIP": clip,
    "HF GPT-2": gpt2,
    "HF Mixtral": mixtral,
    "HF gpt-oss": gpt_oss,
}

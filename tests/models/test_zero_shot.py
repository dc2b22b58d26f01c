"""CLIP as a classifier: text embeddings as its last layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import brittle
from brittle.errors import ModelError
from brittle.models.zero_shot import CLIP_MEAN, CLIP_STD, zero_shot
from tests.vision import need_torchvision

X = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def clip() -> Any:
    need_torchvision()
    kit = pytest.importorskip("transformers", reason="transformers is an extra: pip install 'brittle[hub]'")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = kit.CLIPConfig(
        text_config={**small, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=6,
    )
    return kit.CLIPModel(config).eval()


def test_the_logits_are_those_of_clip_itself(clip: Any) -> None:
    ids = torch.tensor([[0, 5, 1], [0, 9, 1], [0, 7, 1]])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        text = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
        theirs = clip(input_ids=ids, pixel_values=(X - mean) / std).logits_per_image
        torch.testing.assert_close(zero_shot(clip, 3 * text)(X), theirs, rtol=1e-4, atol=1e-5)


def test_it_can_be_audited_and_the_head_is_a_layer(clip: Any) -> None:
    model = zero_shot(clip, torch.randn(3, 6, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        y = model(X).argmax(1)
    audit = brittle.audit(model, (X, y), effort="quick", norm="linf", epsilon={"linf": 0.01}, directions=0)
    assert audit.robustness[0].clean == 1.0
    assert "model.head" in {row.name for row in audit.layers}
    assert not any("text" in row.name for row in (*audit.layers, *audit.unmeasured))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.ones(3, 5), r"expected text embeddings of shape \(classes, 6\) .* got \(3, 5\)"),
        (torch.ones(1, 6), "for 2 classes or more"),
        (torch.zeros(3, 6), "must be finite and not zero"),
        (torch.full((3, 6), torch.nan), "must be finite and not zero"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(clip: Any, rows: torch.Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        zero_shot(clip, rows)


def test_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"expects a CLIPModel of transformers .* got a Linear"):
        zero_shot(nn.Linear(2, 2), torch.ones(3, 6))

"""CLIP as a classifier without training: the embeddings of the classes' texts are its last layer.

Legend: b batch, e embedding length, t the temperature's inverse `exp(logit_scale)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brittle.errors import ModelError
from brittle.models.pixels import Pixels

# The normalisation of CLIP's images (Radford et al. 2021, the authors' code)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ZeroShot(nn.Module):
    """`logits = t * f(x) / ||f(x)|| @ T^T` (Radford et al. 2021, Figure 3), f the image half of a CLIP model.

    The text half has no part in it: the rows of `head` are `t * T`, so that the layer table shows them.
    """

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module, head: Tensor) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = vision_model, visual_projection
        self.head = nn.Linear(head.shape[1], len(head), bias=False).to(head)
        with torch.no_grad():
            self.head.weight.copy_(head)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (b, 3, h, w) -> logits (b, classes)."""
        features = self.visual_projection(self.vision_model(pixel_values=x).pooler_output)
        logits: Tensor = self.head(F.normalize(features, dim=-1))
        return logits


def zero_shot(
    clip: nn.Module,
    text_embeddings: Tensor,
    *,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Pixels:
    """A classifier of pixels in [0, 1] for audits, from a `CLIPModel` of transformers and one text for each class.

    Args:
        clip: has `vision_model`, `visual_projection` and `logit_scale`; its weights are shared, not copied.
        text_embeddings: (classes, e), the outputs of its text half, of any length: they are normalised here.
        mean, std: of the images, pixel units.

    Raises:
        ModelError: no such model, or embeddings that are not finite vectors of its length for two classes or more.
    """
    parts = [getattr(clip, name, None) for name in ("vision_model", "visual_projection", "logit_scale")]
    vision, projection, scale = parts
    if not isinstance(vision, nn.Module) or not isinstance(projection, nn.Linear) or not isinstance(scale, Tensor):
        raise ModelError(
            "zero_shot expects a CLIPModel of transformers (vision_model, visual_projection, logit_scale), got a "
            f"{type(clip).__name__}: wrap other models by hand"
        )
    e = projection.out_features
    if text_embeddings.dim() != 2 or len(text_embeddings) < 2 or text_embeddings.shape[1] != e:
        raise ModelError(
            f"expected text embeddings of shape (classes, {e}) for 2 classes or more, got "
            f"{tuple(text_embeddings.shape)}: give clip's text features, one row for each class"
        )
    lengths = text_embeddings.detach().double().norm(dim=1)
    if not bool(torch.isfinite(lengths).all()) or not bool((lengths > 0).all()):
        raise ModelError("text embeddings must be finite and not zero: embed one text for each class again")
    rows = text_embeddings.detach().double() / lengths[:, None] * math.exp(float(scale.detach()))
    return Pixels(mean, std, ZeroShot(vision, projection, rows.to(projection.weight))).eval()

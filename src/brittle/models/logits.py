"""Image classifiers of other packages return records; an audit takes their logits."""

from __future__ import annotations

from torch import Tensor, nn


class Logits(nn.Module):
    """`model(pixel_values=x).logits`: the form of image classifiers in transformers.

    Args:
        model: takes normalised images (b, c, h, w) as `pixel_values`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits (b, classes)."""
        logits: Tensor = self.model(pixel_values=x).logits
        return logits

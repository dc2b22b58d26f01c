"""The residual networks for small images of He et al. (2016), section 4.2."""

from __future__ import annotations

from torch import nn

from brittle.errors import ModelError
from brittle.models.options import MAX_LAYERS, PerLayer, at_least
from brittle.models.residual import Stage, Style, residual


def resnet(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 20,
    width: int = 16,
    shortcut: str = "pad",
    batch_norm: bool = True,
    activation: str = "relu",
    inner: PerLayer | None = None,
    ranks: PerLayer | None = None,
) -> nn.Sequential:
    """Three stages of n blocks with width, 2 width and 4 width filters, then a global mean and a linear "head".

    Args:
        input_shape: (channels, height, width) of one image.
        classes: number of logits.
        depth: 6n + 2: 20, 32, 44, 56, 110, ...
        width: filters of the stem and the first stage.
        shortcut: "pad" (option A, no weights) or "conv" (option B, 1 x 1 convolutions).
        batch_norm: batch norm after every convolution; without it the convolutions have biases.
        activation: a name in `ACTIVATIONS`.
        inner: filters of the first convolution of every block, or of each (pruned networks).
        ranks: rank of each layer's factorisation: stem, then each block's two convolutions; see `options.rank_plan`.

    Raises:
        ModelError: a value out of range.
    """
    at_least("depth", 8, (depth,), MAX_LAYERS)
    if depth % 6 != 2:
        raise ModelError(f"option depth must be 6n + 2 (8, 14, 20, 32, 44, 56, 110, ...), got {depth}")
    at_least("width", 1, (width,))
    blocks = (depth - 2) // 6
    return residual(
        input_shape,
        classes,
        stem=width,
        stem_stride=1,
        stages=(Stage(width, blocks, 1), Stage(2 * width, blocks, 2), Stage(4 * width, blocks, 2)),
        style=Style(shortcut, batch_norm, activation),
        global_mean=True,
        dense=(),
        inner=inner,
        ranks=ranks,
    )

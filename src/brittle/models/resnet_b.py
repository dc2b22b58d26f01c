"""The small residual networks of the verification competition VNN-COMP 2021 (benchmark cifar10_resnet)."""

from __future__ import annotations

from torch import nn

from brittle.models.options import MAX_LAYERS, PerLayer, at_least, per_layer
from brittle.models.residual import Stage, Style, residual


def resnet_b(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    stem: int = 8,
    stem_stride: int = 2,
    channels: PerLayer = (16,),
    blocks: PerLayer = 2,
    stride: PerLayer = 2,
    fc: PerLayer | None = (100,),
    shortcut: str = "conv",
    batch_norm: bool = False,
    activation: str = "relu",
    inner: PerLayer | None = None,
    ranks: PerLayer | None = None,
) -> nn.Sequential:
    """A strided stem, stages of basic blocks, and dense layers on the flattened image in place of a global mean.

    The defaults are the competition's ResNet-2B; `stem=16, channels=(32, 32)` is its ResNet-4B.

    Args:
        input_shape: (channels, height, width) of one image.
        classes: number of logits.
        stem: filters of the 3 x 3 stem convolution.
        stem_stride: step of the stem.
        channels: filters of each stage; its length is the number of stages.
        blocks: blocks of each stage, one number for all or one each, as for `stride`.
        stride: step of each stage's first block.
        fc: neurons of the dense hidden layers; None or () for none.
        shortcut: "conv" (1 x 1 convolutions) or "pad" (no weights).
        batch_norm: batch norm after every convolution; without it the convolutions have biases.
        activation: a name in `ACTIVATIONS`.
        inner: filters of the first convolution of every block, or of each (pruned networks).
        ranks: rank of each layer's factorisation: stem, each block's two convolutions, dense layers; see
            `options.rank_plan`.

    Raises:
        ModelError: a value out of range.
    """
    filters = (channels,) if isinstance(channels, int) else channels
    counts, strides = per_layer("blocks", blocks, len(filters)), per_layer("stride", stride, len(filters))
    dense = () if fc is None else (fc,) if isinstance(fc, int) else fc
    at_least("stem", 1, (stem,))
    at_least("stem_stride", 1, (stem_stride,))
    at_least("channels", 1, filters)
    at_least("blocks", 1, counts, MAX_LAYERS)
    at_least("stride", 1, strides)
    at_least("fc", 1, dense)
    return residual(
        input_shape,
        classes,
        stem=stem,
        stem_stride=stem_stride,
        stages=tuple(Stage(*stage) for stage in zip(filters, counts, strides, strict=True)),
        style=Style(shortcut, batch_norm, activation),
        global_mean=False,
        dense=dense,
        inner=inner,
        ranks=ranks,
    )

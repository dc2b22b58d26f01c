"""The vision transformer (Dosovitskiy et al., 2021) in sizes for small images."""

from __future__ import annotations

from collections import OrderedDict
from math import isfinite

from torch import nn

from brittle.errors import ModelError
from brittle.models.layers import conv2d, linear
from brittle.models.options import MAX_LAYERS, PerLayer, at_least, fraction, rank_plan
from brittle.models.vit_blocks import POOLINGS, EncoderBlock, Positions, Tokens


def vit(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    patch: int = 4,
    dim: int = 64,
    depth: int = 4,
    heads: int = 4,
    mlp_ratio: float = 2.0,
    pooling: str = "mean",
    activation: str = "gelu",
    dropout: float = 0.0,
    ranks: PerLayer | None = None,
) -> nn.Sequential:
    """Patches "embed" as a convolution, "positions", encoder blocks "block1", ..., "norm", "pool" and a linear "head".

    Args:
        input_shape: (channels, height, width) of one image; both sides are multiples of `patch`.
        classes: number of logits.
        patch: side of the square patches, which do not overlap; each becomes a token.
        dim: width of a token, a multiple of `heads`.
        depth: encoder blocks.
        heads: attention heads of each block.
        mlp_ratio: neurons of a block's hidden dense layer, as a multiple of `dim`.
        pooling: "mean" over the tokens, or the "class" token.
        activation: a name in `ACTIVATIONS`.
        dropout: share of coordinates set to zero in training, after the positions and at the end of each branch.
        ranks: rank of each layer's factorisation: embed, then each block's q, k, v, proj, fc1, fc2; see
            `options.rank_plan`.

    Raises:
        ModelError: a value out of range, or an image that the patches do not cover.
    """
    if len(input_shape) != 3:
        raise ModelError(f"vit takes images (channels, height, width), got {input_shape}; use zoo:mlp")
    at_least("patch", 1, (patch,))
    at_least("dim", 1, (dim,))
    at_least("depth", 1, (depth,), MAX_LAYERS)
    at_least("heads", 1, (heads,))
    fraction("dropout", dropout)
    if not (isfinite(mlp_ratio) and mlp_ratio > 0):
        raise ModelError(f"option mlp_ratio must be a positive number, got {mlp_ratio:g}: 2 and 4 are usual")
    if pooling not in POOLINGS:
        raise ModelError(f"unknown pooling {pooling!r}: expected one of {', '.join(POOLINGS)}")
    channels, height, width = input_shape
    if height % patch or width % patch:
        raise ModelError(
            f"option patch must divide the image's sides {height} and {width}, got {patch}: choose a common divisor"
        )
    if dim % heads:
        raise ModelError(f"option heads must divide dim, got {heads} heads for dim {dim}")

    hidden = max(1, round(dim * mlp_ratio))
    block = [dim, dim, dim, dim, min(dim, hidden), min(dim, hidden)]
    full = [min(dim, channels * patch**2), *block * depth, min(dim, classes)]
    plan = rank_plan(ranks, full)
    pool = POOLINGS[pooling]()

    modules: OrderedDict[str, nn.Module] = OrderedDict()
    modules["embed"] = conv2d(channels, dim, patch, stride=patch, padding=0, rank=plan[0])
    modules["tokens"] = Tokens()
    modules["positions"] = Positions((height // patch) * (width // patch), dim, pool.extra)
    modules["drop"] = nn.Dropout(dropout)
    for i in range(depth):
        modules[f"block{i + 1}"] = EncoderBlock(
            dim,
            hidden,
            heads=heads,
            activation=activation,
            dropout=dropout,
            ranks=plan[1 + 6 * i : 7 + 6 * i],
        )
    modules["norm"] = nn.LayerNorm(dim)
    modules["pool"] = pool
    modules["head"] = linear(dim, classes, rank=plan[-1])
    return nn.Sequential(modules)

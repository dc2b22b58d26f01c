"""Weights rounded to few bits, simulated: they stay floating point numbers, on a grid for each output channel."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from brittle.compression.single_weights import chosen_weights
from brittle.errors import ModelError, UsageError


def round_weights(model: nn.Module, bits: int = 8, layers: Sequence[str] | None = None) -> nn.Module:
    """A copy whose weights are `scale * integer` with symmetric integers of `bits` bits, one scale for each output.

    `scale = max |w| / (2^(bits - 1) - 1)` over an output channel, so `|w - rounded| <= scale / 2` up to the number
    format's own rounding. Biases, norms, embeddings and activations stay as they are.

    Args:
        model: any module; left as it is.
        bits: 2 to 8.
        layers: names of dense layers and convolutions (see `single_weights`); None: all of them.

    Raises:
        UsageError: bits outside 2..8.
        ModelError: an unknown layer, none at all, tied or computed weights, or weights that are not finite.
    """
    levels(bits)
    if not chosen_weights(model, layers):
        raise ModelError("the model has no dense layer or convolution whose weights could be rounded")
    child = copy.deepcopy(model)
    with torch.no_grad():
        for weight in chosen_weights(child, layers).values():
            weight.copy_(rounded(weight, bits))
    return child


def levels(bits: int) -> int:
    """The largest integer of the grid, `2^(bits - 1) - 1`: 127 for 8 bits.

    Raises:
        UsageError: bits outside 2..8.
    """
    if bits not in range(2, 9):
        raise UsageError(f"weights are rounded to 2 up to 8 bits, got {bits!r}")
    return 2 ** (bits - 1) - 1


def scales(weight: Tensor, bits: int) -> Tensor:
    """`max |w| / levels` over each output channel (h,) of a weight (h, ...), in the weight's format; 0 for zeros."""
    return weight.detach().flatten(1).abs().amax(1) / levels(bits)


def rounded(weight: Tensor, bits: int) -> Tensor:
    """The nearest point of the grid, (h, ...) in the weight's format."""
    scale = scales(weight, bits).view(-1, *([1] * (weight.dim() - 1)))
    most = levels(bits)
    steps = torch.where(scale > 0, weight.detach() / scale, 0).round().clamp(-most, most)
    return steps * scale

"""Normalisation inside the model, so that radii, attacks and certificates are all in pixel units.

Legend: b batch, c channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from brittle.errors import ModelError


class Pixels(nn.Module):
    """`model((x - mean) / std)`: takes pixels in [0, 1], (b, c, h, w), and returns what `model` returns.

    Args:
        mean: one number, or one for each channel, in pixel units.
        std: as `mean`; every entry positive.
        model: the network that expects normalised inputs.

    `mean` and `std` are buffers of shape (c, 1, 1), or () when one number serves all channels.

    Raises:
        ModelError: std not positive, numbers that are not finite, or lengths that disagree.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor, model: nn.Module
    ) -> None:
        super().__init__()
        means, stds = _numbers(mean), _numbers(std)
        check_normalisation(means, stds)
        self.register_buffer("mean", _per_channel(means))
        self.register_buffer("std", _per_channel(stds))
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, then run the model."""
        return self.model((x - self.mean) / self.std)


def check_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse a mean and std that cannot normalise.

    Raises:
        ModelError: std not positive, numbers that are not finite, or lengths that disagree.
    """
    if not mean or not std or (len(mean) != len(std) and 1 not in (len(mean), len(std))):
        raise ModelError(
            f"mean has {len(mean)} entries and std has {len(std)}: expected one number, or one for "
            "each channel, in both"
        )
    for value in mean:
        if not math.isfinite(value):
            raise ModelError(f"mean must be finite numbers in pixel units, got {value}")
    for value in std:
        if not (math.isfinite(value) and value > 0):
            raise ModelError(f"std must be positive numbers in pixel units, got {value}; use 1 for no scaling")


def _numbers(value: float | Sequence[float] | Tensor) -> list[float]:
    # The device is explicit, so that a model can be laid out on the meta device.
    return [float(v) for v in torch.as_tensor(value, dtype=torch.float64, device="cpu").flatten()]


def _per_channel(values: list[float]) -> Tensor:
    tensor = torch.tensor(values, dtype=torch.get_default_dtype(), device="cpu")
    # One number broadcasts to inputs of any shape; (1, 1, 1) would add a dimension to flat inputs.
    return tensor[0] if len(values) == 1 else tensor.view(-1, 1, 1)

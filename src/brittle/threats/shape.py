"""One number per sample, shaped to meet the sample's pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """`values` (b,) as (b, 1, ...), with as many axes as `like` (b, ...)."""
    return values.view(-1, *([1] * (like.dim() - 1)))


def largest(values: Tensor) -> Tensor:
    """The largest magnitude of each sample, 1 where all are zero: (b, ...) -> (b, 1, ...)."""
    most = values.flatten(1).abs().amax(1)
    return per_sample(torch.where(most > 0, most, 1.0), values)

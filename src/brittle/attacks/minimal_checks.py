"""What minimal attacks refuse before they start."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.attacks.minimal_norms import Norm, norm_named
from brittle.attacks.room import check_samples
from brittle.errors import UsageError


def check_call(x: Tensor, y: Tensor, indices: Tensor, norm: str, limit: Tensor | None) -> Norm:
    """The norm, if the arguments of a `MinimalAttack` can be used.

    Raises:
        DataError, UsageError: samples that are not pixels with labels (see `check_samples`), an unknown norm, or a
            limit that is not (b,) float64 numbers >= 0.
    """
    check_samples(x, y, indices)
    if limit is not None and (limit.dtype != torch.float64 or limit.shape != (len(x),) or not bool((limit >= 0).all())):
        raise UsageError(
            f"expected limits >= 0, float64 of shape ({len(x)},), got {limit.dtype} of shape {tuple(limit.shape)}"
            f"{'' if limit.numel() == 0 else f' from {float(limit.min()):g}'}: give one known radius per sample"
        )
    return norm_named(norm)


def check_classes(count: int) -> None:
    """Refuse a number of wrong classes below one.

    Raises:
        UsageError: with the number that came.
    """
    if count < 1:
        raise UsageError(f"a minimal attack looks at one wrong class or more, got {count}: 9 is usual")

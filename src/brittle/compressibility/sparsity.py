"""The PQ index of sparsity (Diao et al., Pruning Deep Neural Networks from a Sparsity Perspective, ICLR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from brittle.errors import UsageError


def pq_index(t: Tensor, p: float = 1.0, q: float = 2.0) -> float:
    """`1 - n^(1/q - 1/p) ||t||_p / ||t||_q`: 0 when all n magnitudes are equal, near 1 when one dominates.

    Defaults are the paper's p = 1, q = 2. A zero vector has equal magnitudes: 0. Scale invariant.

    Raises:
        UsageError: an empty vector, NaN or infinity in it, or exponents outside 0 < p < q.
    """
    if not 0 < p < q:
        raise UsageError(f"the PQ index needs exponents 0 < p < q, got p = {p!r}, q = {q!r}")
    if t.numel() == 0 or not bool(torch.isfinite(t).all()):
        raise UsageError(
            f"the PQ index needs a vector of finite numbers, got shape {tuple(t.shape)} with NaN or nothing"
        )
    magnitude = t.detach().to(torch.float64).flatten().abs()
    if magnitude.max() == 0:
        return 0.0
    magnitude = magnitude / magnitude.max()
    n = len(magnitude)
    ratio = float((magnitude**p).sum()) ** (1 / p) / float((magnitude**q).sum()) ** (1 / q)
    return min(1.0, max(0.0, 1.0 - n ** (1 / q - 1 / p) * ratio))

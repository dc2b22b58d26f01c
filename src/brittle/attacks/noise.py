"""Random numbers that belong to samples, not to batches."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import prod

import numpy as np
import torch
from torch import Tensor

from brittle.errors import UsageError


def sample_noise(
    seed: int,
    indices: Tensor | Sequence[int],
    shape: Sequence[int],
    stream: str,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    """Standard normal numbers (b, *shape), a function of (seed, stream, index) alone for each sample.

    They do not change with the batch size, the order of the samples, or which samples are still of interest. Drawn on
    the CPU in float64 by Philox (Salmon et al. 2011), a counter-based generator whose 128-bit key is the pair
    (hash of seed and stream, index), so that distinct samples have distinct streams; then cast.

    Args:
        seed: any integer.
        indices: (b,) positions of the samples in their data set, >= 0.
        shape: shape of one sample.
        stream: a name that separates the uses of one seed, such as "pgd/0".
        dtype: of the answer.
        device: of the answer.

    Raises:
        UsageError: a negative index.
    """
    positions = indices.tolist() if isinstance(indices, Tensor) else [int(i) for i in indices]
    if positions and min(positions) < 0:
        raise UsageError(f"sample indices must be >= 0, got {min(positions)}: give positions in the data set")
    word = int.from_bytes(blake2b(f"{int(seed)}/{stream}".encode(), digest_size=8).digest(), "little")
    noise = np.empty((len(positions), prod(shape)))
    for row, index in zip(noise, positions, strict=True):
        key = np.array([word, index], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).standard_normal(out=row)
    return torch.from_numpy(noise).view(len(positions), *shape).to(device=device, dtype=dtype)

"""What each attention head has of a matrix. Legend: W (h, d); c heads, one part of W each."""

from __future__ import annotations

from math import ldexp

from torch import Tensor

from brittle.compressibility.rank import effective_rank, stable_rank
from brittle.operators.heads import Heads
from brittle.operators.rounding import gram_values
from brittle.results.layer import HeadStructure


def head_structures(w: Tensor, heads: Heads) -> tuple[HeadStructure, ...]:
    """One record for each head of the float64 matrix `w` (h, d), all heads' singular values in one batch.

    Values below 1e-5 of a head's largest are not resolved.

    Raises:
        ModelError: NaN or infinity in it.
    """
    gram = gram_values(heads.cut(w))
    sigmas = gram.values.clamp_min(0).sqrt()
    frobenius = gram.trace.clamp_min(0).sqrt().tolist()
    return tuple(
        HeadStructure(
            frobenius=ldexp(length, gram.exponent),
            spectral_norm=ldexp(float(sigma[-1]), gram.exponent),
            stable_rank=stable_rank(sigma),
            effective_rank=effective_rank(sigma),
        )
        for sigma, length in zip(sigmas, frobenius, strict=True)
    )

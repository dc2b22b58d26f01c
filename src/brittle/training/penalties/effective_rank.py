"""Low effective rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from brittle.training.penalties.spectrum import singular
from brittle.training.penalties.sums import Direct, total
from brittle.training.protocols import Term


@dataclass(frozen=True)
class EffectiveRank:
    """`exp(H(sigma / sum sigma))`, 1 to min(h, d), whatever the scale (Roy & Vetterli 2007); 0 for a zero layer."""

    name: str = field(default="effective_rank", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,)."""
        return total(_effective_rank, weights)

    def start(self) -> Term:
        """The penalty itself: eigenvalues of a Gram matrix in float64 in every step."""
        return Direct(self.value)


def _effective_rank(weight: Tensor) -> Tensor:
    sigma = singular(weight)
    whole = sigma.sum(-1, keepdim=True)
    share = sigma / whole.clamp_min(torch.finfo(sigma.dtype).tiny)
    # p log p has no slope at 0: zeros stay out of the logarithm.
    entropy = -(share * share.where(share > 0, 1).log()).sum(-1)
    return (entropy.exp() * (whole[..., 0] != 0)).to(weight.dtype)

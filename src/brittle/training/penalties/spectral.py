"""Small spectral norms, by subspace iteration that goes on from where the last step left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from brittle.training.penalties.spectrum import singular
from brittle.training.penalties.sums import check_matrices, total
from brittle.training.protocols import Term

# Several vectors follow a change of the leading one, and converge where the first values are close.
_VECTORS = 4
# Products with W^T W at the start, and in each later call.
_FIRST, _LATER = 30, 2


@dataclass(frozen=True)
class Spectral:
    """`sigma_1(W)`, the largest singular value (Yoshida & Miyato 2017; theirs is squared)."""

    name: str = field(default="spectral", init=False)

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """(h, d) matrices -> a scalar, (M, h, d) -> (M,); by eigenvalues, in float64."""
        return total(lambda w: singular(w)[..., -1].to(w.dtype), weights)

    def start(self) -> Term:
        """By iteration: it comes from below, as do all power iterations."""
        return _Iterated()


class _Iterated:
    """`||W v||` for v the leading vector of a subspace kept from call to call: its gradient is `u v^T`."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        check_matrices(weights)
        times = _LATER if self._kept else _FIRST
        kept = self._kept or [_longest_rows(weight.detach()) for weight in weights]
        self._kept = [_iterated(w.detach(), v.to(w), times) for w, v in zip(weights, kept, strict=True)]
        # The leading vector is the first of each subspace.
        parts = [
            torch.linalg.vector_norm((w @ v[..., :1]).flatten(-2), dim=-1)
            for w, v in zip(weights, self._kept, strict=True)
        ]
        return torch.stack(parts).sum(0)

    def state(self) -> dict[str, Tensor]:
        """The subspaces."""
        return {str(i): v for i, v in enumerate(self._kept)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._kept = [state[str(i)] for i in range(len(state))]


def _longest_rows(weight: Tensor) -> Tensor:
    """(..., h, d) -> (..., d, k): no random numbers, and never all of them orthogonal to what matters."""
    count = min(_VECTORS, *weight.shape[-2:])
    at = torch.linalg.vector_norm(weight, dim=-1).topk(count).indices
    return weight.gather(-2, at[..., None].expand(*at.shape, weight.shape[-1])).mT


@torch.no_grad()
def _iterated(weight: Tensor, v: Tensor, times: int) -> Tensor:
    """Orthonormal (..., d, k), the leading vector first (Rayleigh and Ritz)."""
    if not bool(weight.isfinite().all()):
        return torch.full_like(v, torch.nan)
    for _ in range(times):
        v = torch.linalg.qr(weight.mT @ (weight @ v)).Q
    image = weight @ v
    inside = torch.linalg.eigh(image.mT @ image).eigenvectors
    return v @ inside.flip(-1)

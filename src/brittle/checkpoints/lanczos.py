"""Lanczos on the Gram matrix of the short side, from many random vectors at once. Legend: n the short side, m probes.

Each probe is a start vector, uniform on the unit sphere, and sees the matrix only through products, so a matrix is
read in blocks and never held. All arithmetic is float64; bases are kept orthogonal, twice over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from brittle.checkpoints.reading import Reader

# A new direction shorter than this, relative to the matrix, is rounding: the probe has seen all it can.
_SPENT = 1e-13
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Recurrence:
    """Diagonals (steps, m) and off-diagonals (steps, m) of each probe's tridiagonal matrix; zeros once it is spent."""

    diagonal: Tensor
    beside: Tensor

    def quadrature(self, steps: int) -> tuple[Tensor, Tensor]:
        """Nodes (eigenvalues of the Gram matrix, m x steps) and weights (summing to 1) after so many steps."""
        beside = self.beside[: steps - 1].T
        t = torch.diag_embed(self.diagonal[:steps].T)
        t = t + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
        nodes, vectors = torch.linalg.eigh(t)
        return nodes.clamp_min(0), vectors[:, 0, :].square()


def gram_product(reader: Reader) -> Callable[[Tensor], Tensor]:
    """`x -> G x`, (n, m) -> (n, m), with G the Gram matrix of the short side."""
    return lambda x: _tall(reader, x) if reader.sides[1] <= reader.sides[0] else _wide(reader, x)


def lanczos(
    product: Callable[[Tensor], Tensor],
    n: int,
    *,
    probes: int,
    steps: int,
    generator: torch.Generator,
) -> Recurrence:
    """The recurrences of `probes` random starts after at most `steps` products with a symmetric matrix >= 0 (n, n)."""
    start = torch.randn(n, probes, dtype=torch.float64, generator=generator).T
    steps = min(steps, n)
    basis = torch.zeros(probes, steps, n, dtype=torch.float64)
    diagonal, beside = torch.zeros(2, steps, probes, dtype=torch.float64)
    basis[:, 0] = start / start.norm(dim=1, keepdim=True)
    going = torch.ones(probes, dtype=torch.bool)
    for j in range(steps):
        v = basis[:, j]
        w = product(v.T.contiguous()).T.contiguous()
        diagonal[j] = (v * w).sum(1)
        known = basis[:, : j + 1]
        for _ in range(2):  # twice is enough to keep the basis orthogonal
            w -= (known.mT @ (known @ w[:, :, None]))[:, :, 0]
        length = w.norm(dim=1)
        size = diagonal[: j + 1].amax(0) + beside[: j + 1].amax(0)
        going &= length > _SPENT * size
        beside[j] = torch.where(going, length, 0.0)
        if j + 1 == steps or not bool(going.any()):
            break
        basis[:, j + 1] = torch.where(going[:, None], w / length.clamp_min(_TINY)[:, None], 0.0)
    return Recurrence(diagonal, beside)


def _tall(reader: Reader, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for span in reader.rows():
        block = reader.block(span)
        out.addmm_(block.T, block @ x)
    return out


def _wide(reader: Reader, x: Tensor) -> Tensor:
    """Two passes, by rows both times: columns lie apart in the file."""
    inner = torch.zeros(reader.sides[1], x.shape[1], dtype=x.dtype)
    for start, end in reader.rows():
        inner.addmm_(reader.block((start, end)).T, x[start:end])
    out = torch.empty_like(x)
    for start, end in reader.rows():
        out[start:end] = reader.block((start, end)) @ inner
    return out

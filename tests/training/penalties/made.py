"""Matrices and references for the tests of penalties, independent of the library."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_values(sigma: Tensor, rows: int, columns: int, seed: int = 0) -> Tensor:
    """A float64 (rows, columns) matrix of these singular values and random singular vectors."""
    u = torch.linalg.qr(normal(rows, len(sigma), seed=seed)).Q
    v = torch.linalg.qr(normal(columns, len(sigma), seed=seed + 1)).Q
    return (u * sigma.double()) @ v.T


def polar(w: Tensor) -> Tensor:
    """`U V^T` by a singular value decomposition in float64."""
    u, _, vt = torch.linalg.svd(w.double(), full_matrices=False)
    return u @ vt


def slopes(term: object, weights: list[Tensor]) -> list[Tensor]:
    """Gradients of a term."""
    leaves = [w.clone().requires_grad_() for w in weights]
    return list(torch.autograd.grad(term(leaves).sum(), leaves))  # type: ignore[operator]

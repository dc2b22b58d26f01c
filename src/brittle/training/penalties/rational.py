"""Functions of a matrix's singular values from its Gram matrix: symmetric products and Cholesky factors, nothing else.

An odd rational function Z (`zolotarev`) acts on the singular values of W as `Z(W) = P W`, and with G = W W^T

    P = c (I + sum_j a_j R_j),   R_j = (G + c_j I)^-1,   P G = c (G + sum_j a_j (I - c_j R_j)):

a second function on top of it, of the Gram matrix `P (P G)` of Z(W), needs W no more than the first. Rounding of G
counts, relative to sigma_1^2, so that the result is the less exact the smaller a value is.
Legend: r short side, n long side; leading dimensions are members.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from brittle.training.penalties.zolotarev import Step

# Blocks of a symmetric product: with 8, 56 % of the work.
_BLOCKS = 8


def left_factor(g: Tensor, steps: Sequence[Step]) -> Tensor | None:
    """P, (..., r, r), so that `P W` has the singular values that one step, or two, make of those of W.

    G is positive semidefinite, its largest eigenvalue near 1; it is overwritten. None where rounding has made a Gram
    matrix indefinite.
    """
    first = steps[0]
    inverses = _inverses(g, first)
    if inverses is None:
        return None
    product = g.mul_(first.factor) if len(steps) > 1 else None
    if product is not None:
        for inverse, shift in zip(inverses, first.shifts, strict=True):
            product.add_(inverse, alpha=-shift)
        _add_to_diagonal(product, first.factor * sum(first.residues))
    p = _sum(inverses)
    _add_to_diagonal(p, first.factor)
    return p if product is None else _after(symmetric_product(p, product), steps[1], p)


def symmetric_product(a: Tensor, b: Tensor) -> Tensor:
    """`A B`, (..., r, n) and (..., n, r) -> (..., r, r), known to be symmetric: only the lower half is multiplied."""
    r = a.shape[-2]
    g = a.new_empty(*a.shape[:-1], r)
    size = -(-r // _BLOCKS)
    for start in range(0, r, size):
        stop = min(r, start + size)
        block = a[..., start:stop, :] @ b[..., :stop]
        g[..., start:stop, :stop] = block
        g[..., :start, start:stop] = block[..., :start].mT
    return g


def _inverses(g: Tensor, step: Step) -> list[Tensor] | None:
    """`c a_j R_j`."""
    found = []
    for shift, residue in zip(step.shifts, step.residues, strict=True):
        lower = _shifted_cholesky(g, shift)
        if lower is None:
            return None
        # Symmetric, and stored by columns.
        found.append(torch.cholesky_inverse(lower).mT.mul_(residue * step.factor))
    return found


def _after(g: Tensor, step: Step, p: Tensor) -> Tensor | None:
    """`c (P + sum_j a_j (G + c_j I)^-1 P)`, P symmetric."""
    columns = p.mT  # the same matrix, stored by columns
    solved = []
    for shift, residue in zip(step.shifts, step.residues, strict=True):
        lower = _shifted_cholesky(g, shift)
        if lower is None:
            return None
        solved.append(torch.cholesky_solve(columns, lower).mul_(residue * step.factor))
    return _sum(solved).add_(columns, alpha=step.factor)


def _sum(matrices: list[Tensor]) -> Tensor:
    """In the memory of the first: new memory costs more than a sum."""
    for matrix in matrices[1:]:
        matrices[0].add_(matrix)
    return matrices[0]


def _shifted_cholesky(g: Tensor, shift: float) -> Tensor | None:
    # By columns, as LAPACK stores them, and in place: with copies it would take twice as long.
    lower = g.mT.clone()
    _add_to_diagonal(lower, shift)
    info = torch.empty(g.shape[:-2], dtype=torch.int32, device=g.device)
    torch.linalg.cholesky_ex(lower, out=(lower, info))
    return None if bool(info.any()) else lower


def _add_to_diagonal(matrix: Tensor, number: float) -> None:
    matrix.diagonal(dim1=-2, dim2=-1).add_(number)

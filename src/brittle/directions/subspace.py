"""Leading eigenpairs of a symmetric positive operator from products alone: block Krylov with Rayleigh-Ritz.

Legend: d size of the operator A, m rows of a block, s rows of the basis so far. Vectors are rows in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# (stage, done, total)
Progress = Callable[[str, int, int], None]
# A row that keeps less than this share of its length beside the basis lies in its span.
_SPANNED = 1e-12


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Ritz pairs of A, largest first: values (k,), orthonormal vectors (k, d), relative residuals (k,).

    `residuals[i] = ||A v_i - value_i v_i||_2 / value_i`; values that rounding alone could make are 0, with residual 0.
    `basis` (s, d) is the orthonormal Krylov basis, `captured` the trace of A on it, `products` how many vectors A was
    applied to.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    basis: Tensor
    captured: float
    products: int


def leading_pairs(
    apply: Callable[[Tensor], Tensor],
    size: int,
    k: int,
    *,
    block: int,
    seed: int,
    tolerance: float,
    budget: int,
    rounding: float,
    progress: Progress | None = None,
) -> Eigenpairs:
    """The k leading eigenpairs of A: (m, d) -> (m, d).

    Block Lanczos with every block kept and orthogonalised against all others, then Rayleigh-Ritz on the whole basis:
    for b products the best polynomial of degree b / block in A, where power iteration has one fixed polynomial
    (Musco and Musco 2015, algorithm 2; Golub and Underwood 1977). It stops when the residuals of all k pairs are within
    the tolerance, or the budget of products is spent, or the basis fills the space (then the pairs are exact). Values
    within `rounding` times the largest of zero need not converge beyond that.

    Args:
        apply: `A v` for rows v.
        size: d.
        k: pairs wanted, 1 ... d.
        block: rows of the random start, at least the largest multiplicity that is to be resolved.
        seed: of the start.
        tolerance: relative residual at which a pair is accepted.
        budget: the most products; at least k are made.
        rounding: relative size of the rounding errors of `apply`.
        progress: told ("directions", products made, budget).
    """
    generator = torch.Generator().manual_seed(seed)
    most = min(max(budget, k), size)
    basis = torch.empty(most, size, dtype=torch.float64)
    images = torch.empty(most, size, dtype=torch.float64)
    small = torch.zeros(most, most, dtype=torch.float64)
    filled = 0
    candidates = torch.randn(block, size, dtype=torch.float64, generator=generator)
    while True:
        new = _beside(candidates, basis[:filled])[: most - filled]
        while len(new) == 0:  # an invariant subspace: look elsewhere
            fresh = torch.randn(block, size, dtype=torch.float64, generator=generator)
            new = _beside(fresh, basis[:filled])[: most - filled]
        stop = filled + len(new)
        basis[filled:stop], images[filled:stop] = new, apply(new)
        cross = basis[:stop] @ images[filled:stop].T
        small[:stop, filled:stop], small[filled:stop, :stop] = cross, cross.T
        candidates, filled = images[filled:stop], stop
        if progress is not None:
            progress("directions", filled, most)
        if filled < k:
            continue
        values, weights = torch.linalg.eigh((small[:filled, :filled] + small[:filled, :filled].T) / 2)
        values, weights = values.flip(0)[:k].clamp_min(0.0), weights.flip(1)[:, :k].T
        vectors = weights @ basis[:filled]
        lengths = (weights @ images[:filled] - values[:, None] * vectors).norm(dim=1)
        # Rounding of the products alone leaves this much of a vanishing eigenvalue.
        accepted = torch.maximum(tolerance * values, rounding * values[0])
        if filled == most or bool((lengths <= accepted).all()):
            noise = rounding * values[0]
            values = torch.where((values <= noise) & (lengths <= noise), 0.0, values)
            residuals = torch.where(values > 0, lengths / values.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
            captured = float(small[:filled, :filled].diagonal().sum())
            return Eigenpairs(values, vectors, residuals, basis[:filled], captured, filled)


def completed(rows: Tensor, k: int, seed: int) -> Tensor:
    """Orthonormal rows (r, d), r <= k <= d, followed by random ones orthogonal to them: (k, d)."""
    generator = torch.Generator().manual_seed(seed)
    while len(rows) < k:
        fresh = torch.randn(k - len(rows), rows.shape[1], dtype=torch.float64, generator=generator)
        rows = torch.cat([rows, _beside(fresh, rows)])
    return rows


def _beside(rows: Tensor, basis: Tensor) -> Tensor:
    """Orthonormal rows that span what `rows` add to the span of `basis`; at most as many as `rows`."""
    lengths = rows.norm(dim=1)
    rows = rows[lengths > 0] / lengths[lengths > 0, None]
    for _ in range(2):  # twice is enough for orthogonality to rounding
        rows = rows - (rows @ basis.T) @ basis
        kept: list[Tensor] = []
        for row in rows:
            rest = row
            for _ in range(2):
                for other in kept:
                    rest = rest - (rest @ other) * other
            length = rest.norm()
            if float(length) > _SPANNED:
                kept.append(rest / length)
        rows = torch.stack(kept) if kept else rows[:0]
    return rows

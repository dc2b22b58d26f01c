"""Two structure audits, matrix by matrix: what became larger, and what became more or less compressible."""

from __future__ import annotations

from math import log

from brittle.checkpoints.plan import natural
from brittle.results.structure import (
    CheckpointInfo,
    MatrixChange,
    MatrixStructure,
    Quantity,
    StructureAudit,
    StructureComparison,
)

CAUTION = "No input was attacked: none of these changes says whether the network became easier to break."

Interval = tuple[float, float]


def compare_structure(base: StructureAudit, child: StructureAudit) -> StructureComparison:
    """What changed in matrices of equal names, the largest change of scale and structure first."""
    before = {row.name: row for row in base.matrices}
    after = {row.name: row for row in child.matrices}
    changes = [matrix_change(before[name], row) for name, row in after.items() if name in before]
    changes.sort(key=lambda change: (-_size(change), natural(change.name)))
    unmatched = sorted(before.keys() ^ after.keys(), key=natural)
    return StructureComparison(_info(base), tuple(changes), tuple(unmatched), CAUTION)


def matrix_change(before: MatrixStructure, after: MatrixStructure) -> MatrixChange:
    """One matrix: intervals of differences are those of both numbers together, so at least as wide as they need be."""
    return MatrixChange(
        name=after.name,
        shape_base=before.shape,
        shape=after.shape,
        log_scale=log(after.frobenius) - log(before.frobenius) if before.frobenius and after.frobenius else None,
        log_structure=_log_structure(before, after),
        effective_rank_share=_difference(_rank_share(before), _rank_share(after)),
        epsilon=_difference(before.spectral.epsilon, after.spectral.epsilon),
    )


def _log_structure(before: MatrixStructure, after: MatrixStructure) -> Quantity | None:
    """Change of `ln(sigma_1 / ||W||_F)`."""
    logs = []
    for row in (before, after):
        if not row.frobenius:
            return None
        sigma = row.spectral.sigma_max
        low, high = (log(end / row.frobenius) for end in _ends(sigma))
        logs.append(Quantity(log(sigma.value / row.frobenius), sigma.status, (low, high)))
    return _difference(*logs, exact=all(row.spectral.sigma_max.status == "exact" for row in (before, after)))


def _rank_share(row: MatrixStructure) -> Quantity:
    short = min(row.shape)
    rank = row.spectral.effective_rank
    low, high = (end / short for end in _ends(rank))
    return Quantity(rank.value / short, rank.status, (low, high))


def _difference(before: Quantity, after: Quantity, *, exact: bool | None = None) -> Quantity:
    if exact is None:
        exact = before.status == after.status == "exact"
    if exact:
        return Quantity(after.value - before.value, "exact")
    (low, high), (base_low, base_high) = _ends(after), _ends(before)
    return Quantity(after.value - before.value, "estimate", (low - base_high, high - base_low))


def _ends(quantity: Quantity) -> Interval:
    return quantity.interval95 or (quantity.value, quantity.value)


def _size(change: MatrixChange) -> float:
    structure = 0.0 if change.log_structure is None else abs(change.log_structure.value)
    return abs(change.log_scale or 0.0) + structure


def _info(audit: StructureAudit) -> CheckpointInfo:
    return audit.checkpoint

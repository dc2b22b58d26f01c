"""The layer table's columns, a literal table: what each abbreviation means and how its cell is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.results.layer import LayerStructure

MAX_CELLS = 10_000
Cell = tuple[str, float | str | None]  # text shown, value sorted by


@dataclass(frozen=True)
class Column:
    """`main` columns show at once, the others with "all metrics"; `tip` explains the label."""

    group: str
    label: str
    tip: str
    main: bool
    cell: Callable[[LayerStructure], Cell]


def _number(get: Callable[[LayerStructure], float | None]) -> Callable[[LayerStructure], Cell]:
    return lambda layer: (fmt.number(get(layer)), get(layer))


def _share(get: Callable[[LayerStructure], float]) -> Callable[[LayerStructure], Cell]:
    return lambda layer: (fmt.percent(get(layer)), get(layer))


def _integer(get: Callable[[LayerStructure], int]) -> Callable[[LayerStructure], Cell]:
    return lambda layer: (fmt.count(get(layer)), get(layer))


def _norm(p: str) -> Callable[[LayerStructure], Cell]:
    def cell(layer: LayerStructure) -> Cell:
        bound = layer.norms.get(p)
        return (fmt.MISSING, None) if bound is None else (fmt.bounded(bound.value, bound.status), bound.value)

    return cell


def _norm_lower(p: str) -> Callable[[LayerStructure], Cell]:
    def cell(layer: LayerStructure) -> Cell:
        bound = layer.norms.get(p)
        return (fmt.MISSING, None) if bound is None else (fmt.bounded(bound.lower, "lower_bound"), bound.lower)

    return cell


def _theorem(p: str, side: str) -> Callable[[LayerStructure], Cell]:
    def cell(layer: LayerStructure) -> Cell:
        found = layer.theorem31.get(p)
        if found is None:
            return fmt.MISSING, None
        value = found.upper if side == "upper_bound" else found.lower
        return fmt.bounded(value, side), value

    return cell


def _theorem_k(p: str) -> Callable[[LayerStructure], Cell]:
    def cell(layer: LayerStructure) -> Cell:
        found = layer.theorem31.get(p)
        if found is None:
            return fmt.MISSING, None
        return (str(found.k) if found.k_r is None else f"{found.k}, {found.k_r}"), found.k

    return cell


_NU, _SIGMA, _OP, _SPLIT, _T31 = "Rows ν", "Singular values σ", "Norm ‖T‖", "Structure, scale", "Theorem 3.1"

COLUMNS: tuple[Column, ...] = (
    Column("Layer", "layer", "the layer's name in the network", True, lambda row: (row.name, row.name)),
    Column("Layer", "kind", "the layer's class", False, lambda row: (row.kind, row.kind)),
    Column("Layer", "shape", "shape of the weight", True, lambda row: (fmt.shape(row.shape), row.parameters)),
    Column("Layer", "params", "number of weights", False, _integer(lambda row: row.parameters)),
    Column("Layer", "on input", "are the operator norms those of the map on its real, padded input (yes), or of the "
           "structure matrix (no)?", False, lambda row: (("yes" if row.on_input else "no"), int(row.on_input))),
    Column(_NU, "residual", "what the k largest row norms leave over, ‖ν − νₖ‖ / ‖ν‖: small means compressible by "
           "rows (filters)", True, _share(lambda row: row.neuron.epsilon)),
    Column(_NU, "k", "how many leading rows are kept for the residual, 10% unless --k says otherwise; q is 1",
           False, _integer(lambda row: row.neuron.k)),
    Column(_NU, "β", "spread of the leading rows, 1 − νₖ / ν₁", False, _number(lambda row: row.neuron.beta)),
    Column(_NU, "β mean", "spread by the mean of the leading rows, 1 − mean / ν₁", False,
           _number(lambda row: row.neuron.beta_mean)),
    Column(_NU, "PQ", "PQ index of the row norms (p = 1, q = 2): 0 even, towards 1 concentrated", False,
           _number(lambda row: row.neuron.pq_index)),
    Column(_NU, "keep at 5%", "smallest share of rows whose residual is at most 5%", True,
           _share(lambda row: row.neuron.keep_at_5pct)),
    Column(_SIGMA, "residual", "what the k largest singular values leave over: small means compressible by rank", True,
           _share(lambda row: row.spectral.epsilon)),
    Column(_SIGMA, "k", "how many leading singular values are kept for the residual", False,
           _integer(lambda row: row.spectral.k)),
    Column(_SIGMA, "β", "spread of the leading singular values, 1 − σₖ / σ₁", False,
           _number(lambda row: row.spectral.beta)),
    Column(_SIGMA, "β mean", "spread by the mean of the leading singular values", False,
           _number(lambda row: row.spectral.beta_mean)),
    Column(_SIGMA, "PQ", "PQ index of the singular values", False, _number(lambda row: row.spectral.pq_index)),
    Column(_SIGMA, "eff. rank", "effective rank, exp(entropy of σ / Σσ)", True,
           _number(lambda row: row.spectral.effective_rank)),
    Column(_SIGMA, "stable rank", "‖W‖_F² / σ₁²", False, _number(lambda row: row.spectral.stable_rank)),
    Column(_SIGMA, "rank at 5%", "smallest rank whose residual is at most 5%", True,
           _integer(lambda row: row.spectral.rank_at_5pct)),
    Column(_OP, "ℓ∞", "largest change of an output for a change of 1 in every input", True, _norm("linf")),
    Column(_OP, "ℓ₂", "largest stretch of a Euclidean length", True, _norm("l2")),
    Column(_OP, "ℓ∞ from below", "proved from below", False, _norm_lower("linf")),
    Column(_OP, "ℓ₂ from below", "proved from below", False, _norm_lower("l2")),
    Column(_SPLIT, "ℓ∞", "‖T‖∞ / ‖W‖_F: how much the layer's shape of weights amplifies at a given size", True,
           _number(lambda row: row.structure.linf)),
    Column(_SPLIT, "ℓ₂", "‖T‖₂ / ‖W‖_F", True, _number(lambda row: row.structure.l2)),
    Column(_SPLIT, "scale", "‖W‖_F, the size of the weights (Frobenius, batch norm folded in); structure × scale = "
           "operator norm", True, _number(lambda row: row.scale)),
    Column(_T31, "ℓ∞ upper", "the paper's bound on ‖W‖∞ from compressibility", False, _theorem("linf", "upper_bound")),
    Column(_T31, "ℓ∞ lower", "the lower side: a compressible matrix must have a norm this large", False,
           _theorem("linf", "lower_bound")),
    Column(_T31, "ℓ∞ k, k_r", "the k (rows) and k_r (within rows) that make the bound smallest", False,
           _theorem_k("linf")),
    Column(_T31, "ℓ₂ upper", "the paper's bound on ‖W‖₂ from compressibility", False, _theorem("l2", "upper_bound")),
    Column(_T31, "ℓ₂ lower", "the lower side", False, _theorem("l2", "lower_bound")),
    Column(_T31, "ℓ₂ k", "the k that makes the bound smallest", False, _theorem_k("l2")),
)  # fmt: skip


def columns_for(rows: int) -> tuple[Column, ...]:
    """All columns, or only the main ones where `rows` layer rows would make the page too large."""
    return COLUMNS if rows * len(COLUMNS) <= MAX_CELLS else tuple(column for column in COLUMNS if column.main)


def groups(columns: Sequence[Column]) -> list[tuple[str, int, int]]:
    """Neighbouring columns of one group: (group, columns in all, main columns)."""
    spans: list[tuple[str, int, int]] = []
    for column in columns:
        if spans and spans[-1][0] == column.group:
            name, n, main = spans[-1]
            spans[-1] = (name, n + 1, main + column.main)
        else:
            spans.append((column.group, 1, int(column.main)))
    return spans

"""The tables of a structure audit: columns as a literal table, facts, changes, settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from brittle.report import format as fmt
from brittle.results.structure import MatrixChange, MatrixStructure, Quantity, StructureAudit

# Rows on the page; the JSON holds all.
MAX_ROWS = 1500


@dataclass(frozen=True)
class Cell:
    """Text shown, interval below it ("" where there is none), value sorted by."""

    text: str
    interval: str
    value: float | str | None


@dataclass(frozen=True)
class Column:
    """`tip` explains the label."""

    label: str
    tip: str
    cell: Callable[[MatrixStructure], Cell]


def rank_share(row: MatrixStructure) -> Quantity:
    """The effective rank as a share of the short side, with its interval."""
    short = min(row.shape)
    rank = row.spectral.effective_rank
    ends = None if rank.interval95 is None else (rank.interval95[0] / short, rank.interval95[1] / short)
    return Quantity(rank.value / short, rank.status, ends)


def _name(row: MatrixStructure) -> Cell:
    return Cell(row.name, "", row.name)


def _signed(quantity: Quantity, text: str) -> str:
    """The sign of a bound or an estimate before a number; exact numbers, by far the most, stand alone."""
    return text if quantity.status == "exact" else f"{fmt.STATUS_SIGNS[quantity.status]} {text}"


def _share(quantity: Quantity) -> Cell:
    interval = "" if quantity.interval95 is None else fmt.percent_interval(quantity.interval95)
    return Cell(_signed(quantity, fmt.percent(quantity.value)), interval, quantity.value)


def _quantity(quantity: Quantity) -> Cell:
    ends = quantity.interval95
    interval = "" if ends is None else f"[{fmt.number(ends[0])}, {fmt.number(ends[1])}]"
    return Cell(_signed(quantity, fmt.number(quantity.value)), interval, quantity.value)


COLUMNS: tuple[Column, ...] = (
    Column("matrix", "the layer's name, from the tensor's name", _name),
    Column("shape", "neurons × fan-in", lambda row: Cell(fmt.shape(row.shape), "", row.parameters)),
    Column("format", "number format in the file", lambda row: Cell(row.dtype, "", row.dtype)),
    Column(
        "eff. rank",
        "effective rank, exp(entropy of σ / Σσ), as a share of the short side",
        lambda row: _share(rank_share(row)),
    ),
    Column(
        "residual σ",
        "what the k largest singular values leave over of Σσ: small means compressible by rank",
        lambda row: _share(row.spectral.epsilon),
    ),
    Column(
        "residual ν",
        "what the k largest row norms leave over of Σν: small means compressible by rows",
        lambda row: _share(Quantity(row.neuron.epsilon, "exact")),
    ),
    Column("stable rank", "‖W‖_F² / σ₁²", lambda row: _quantity(row.spectral.stable_rank)),
    Column("σ₁", "largest singular value", lambda row: _quantity(row.spectral.sigma_max)),
    Column(
        "‖W‖_F", "Frobenius norm, the scale of the weights", lambda row: _quantity(Quantity(row.frobenius, "exact"))
    ),
)


def shown_rows(audit: StructureAudit) -> tuple[MatrixStructure, ...]:
    """All matrices in order, or where they are too many those of the smallest effective rank for their size."""
    if len(audit.matrices) <= MAX_ROWS:
        return audit.matrices
    return tuple(sorted(audit.matrices, key=lambda row: rank_share(row).value)[:MAX_ROWS])


def structure_headline(audit: StructureAudit) -> str:
    """What was measured, in one sentence."""
    count = fmt.plural(len(audit.matrices), "matrix").replace("matrixs", "matrices")
    return f"{count} measured: {fmt.percent(measured_share(audit))} of the numbers in {audit.checkpoint.name}"


def measured_share(audit: StructureAudit) -> float:
    """Entries of measured matrices, equal tensors included, over all entries."""
    entries = {row.tensor: 0 for row in audit.matrices}
    for row in audit.matrices:
        entries[row.tensor] += row.parameters * (1 + len(row.same_as))
    return sum(entries.values()) / audit.checkpoint.parameters if audit.checkpoint.parameters else 0.0


def facts(audit: StructureAudit) -> list[tuple[str, str, str]]:
    """(label, value, detail) for the top of the page."""
    info, rows = audit.checkpoint, audit.matrices
    found = [
        ("numbers", fmt.count(info.parameters), f"in {fmt.plural(info.tensors, 'tensor')}, {gibibytes(info.bytes)}"),
    ]
    if rows:
        shares = [rank_share(row).value for row in rows]
        low = min(rows, key=lambda row: rank_share(row).value)
        tight = min(rows, key=lambda row: row.spectral.epsilon.value)
        estimated = sum(row.spectral.method == "random probes" for row in rows)
        found += [
            ("effective rank, median", fmt.percent(median(shares)), f"of the short side; lowest in {low.name}"),
            (
                "residual σ, smallest",
                fmt.percent(tight.spectral.epsilon.value),
                f"in {tight.name}, {fmt.percent(audit.settings.k_fraction)} of the values kept",
            ),
            ("estimated", f"{estimated} of {len(rows)}", "spectra, by random probes, with 95% intervals"),
        ]
    return found


def change_rows(audit: StructureAudit) -> list[tuple[str, tuple[Cell, ...]]]:
    """(name, cells) of what changed from the base, in the record's order, at most `MAX_ROWS`; the rest is left out."""
    if audit.comparison is None:
        return []
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for change in [one for one in audit.comparison.changes if not is_unchanged(one)][:MAX_ROWS]:
        shape = fmt.shape(change.shape)
        if change.shape != change.shape_base:
            shape = f"{fmt.shape(change.shape_base)} → {shape}"
        scale = None if change.log_scale is None else Quantity(change.log_scale, "exact")
        cells = (
            Cell(shape, "", None),
            _logs(scale),
            _logs(change.log_structure),
            _points(change.effective_rank_share),
            _points(change.epsilon),
        )
        rows.append((change.name, cells))
    return rows


def is_unchanged(change: MatrixChange) -> bool:
    """Equal in every number, so most likely the same matrix."""
    structure = 0.0 if change.log_structure is None else change.log_structure.value
    values = (change.log_scale or 0.0, structure, change.effective_rank_share.value, change.epsilon.value)
    return change.shape == change.shape_base and not any(values)


CHANGE_HEADINGS: tuple[tuple[str, str], ...] = (
    ("shape", "neurons × fan-in"),
    ("scale", "change of ln ‖W‖_F"),
    ("structure", "change of ln (‖W‖₂ / ‖W‖_F)"),
    ("eff. rank", "change of the effective rank over the short side, points"),
    ("residual σ", "change of the residual, points"),
)


def reproduce_rows(audit: StructureAudit) -> list[tuple[str, str]]:
    """(label, value) of all that is needed to measure again."""
    s = audit.settings
    return [
        ("files", fmt.count(audit.checkpoint.files)),
        ("kept for residuals", f"{fmt.percent(s.k_fraction)} of rows or singular values"),
        ("all singular values", f"up to a short side of {fmt.count(s.exact_side)}"),
        ("beyond", f"{s.probes} random probes, {s.steps} products each"),
        ("seed", str(audit.seed)),
        ("workers", str(s.workers)),
        ("memory, bound", gibibytes(s.memory_bound)),
        ("brittle, torch", f"{audit.brittle}, {s.torch}"),
        ("time", fmt.seconds(s.seconds)),
    ]


def noted(rows: Sequence[MatrixStructure]) -> list[tuple[str, list[str]]]:
    """Every note once, with the matrices it belongs to; tied tensors as well."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            found.setdefault(note, []).append(row.name)
        if row.same_as:
            found.setdefault("holds the same numbers as other tensors, measured once", []).append(
                f"{row.name} ({', '.join(row.same_as)})"
            )
    return list(found.items())


def gibibytes(size: int) -> str:
    """A size: "12.6 GiB", "3.4 MiB"."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _logs(quantity: Quantity | None) -> Cell:
    if quantity is None:
        return Cell(fmt.MISSING, "", None)
    ends = quantity.interval95
    interval = "" if ends is None else f"[{fmt.logs(ends[0])}, {fmt.logs(ends[1])}]"
    return Cell(_signed(quantity, fmt.logs(quantity.value)), interval, quantity.value)


def _points(quantity: Quantity) -> Cell:
    ends = quantity.interval95
    interval = "" if ends is None else fmt.points_interval((100 * ends[0], 100 * ends[1]))
    return Cell(_signed(quantity, fmt.points(100 * quantity.value)), interval, quantity.value)

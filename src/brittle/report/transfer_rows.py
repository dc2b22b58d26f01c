"""Which nets' perturbations hurt which others: a square table of sources and targets for each kind and threat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.nets import Net, base_of, children
from brittle.results.perturbations import Transfer

KINDS = {
    "examples": "one perturbation for each input",
    "universal": "one perturbation for all inputs",
    "directions": "sensitive directions",
}


@dataclass(frozen=True)
class TransferCell:
    """`shade` (0 to 1) is the damage share for the cell's colour; `tip` holds the rest of the record."""

    share: str
    accuracy: str
    shade: float
    tip: str


@dataclass(frozen=True)
class TransferTable:
    """`rows` are (source, cells in the order of `targets`); None where no audit compared the two."""

    key: str
    title: str
    targets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[TransferCell | None, ...]], ...]


def transfer_tables(shown: Sequence[Net]) -> tuple[TransferTable, ...]:
    """A table for each kind and threat, in the order met; a pair measured in several comparisons shows once."""
    found: dict[tuple[str, str, float], dict[tuple[str, str], Transfer]] = {}
    for net in children(shown):
        comparison = net.audit.comparison if net.audit is not None else None
        for t in comparison.transfer if comparison is not None else ():
            cells = found.setdefault((t.kind, t.norm, t.epsilon), {})
            cells.setdefault((_shown_name(t.source, net, shown), _shown_name(t.target, net, shown)), t)
    order = [net.name for net in shown]
    tables = []
    for i, ((kind, norm, epsilon), cells) in enumerate(found.items()):
        names = sorted({name for pair in cells for name in pair}, key=lambda n: [*order, n].index(n))
        sources = [n for n in names if any(source == n for source, _ in cells)]
        targets = [n for n in names if any(target == n for _, target in cells)]
        rows = tuple((s, tuple(_cell(cells.get((s, t))) for t in targets)) for s in sources)
        tables.append(
            TransferTable(f"t{i}", f"{KINDS.get(kind, kind)}, {fmt.threat(norm, epsilon)}", tuple(targets), rows)
        )
    return tuple(tables)


def _shown_name(name: str, net: Net, shown: Sequence[Net]) -> str:
    """The name on the page of a net that the comparison of `net` calls `name` (equal names are numbered there)."""
    base = base_of(net, shown)
    if base is not None and name == base.model.name:
        return base.name
    return net.name if name == net.model.name else name


def _cell(t: Transfer | None) -> TransferCell | None:
    if t is None:
        return None
    return TransferCell(
        share=fmt.percent(t.damage_share),
        accuracy=fmt.percent(t.accuracy),
        shade=round(min(1.0, max(0.0, t.damage_share or 0.0)), 3),
        tip=f"{t.source} on {t.target}: clean {fmt.percent(t.clean)}, left {fmt.percent(t.accuracy)} "
        f"{fmt.percent_interval(t.interval95)}, n = {fmt.count(t.n)}",
    )

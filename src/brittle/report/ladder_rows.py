"""The bounds: one table of rungs for each norm, one column for each net, and the measured gap beside its bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.nets import Net, norms
from brittle.results.bounds import Gap, Rung
from brittle.results.robustness import threat_key


@dataclass(frozen=True)
class Cell:
    """A net's value on a rung: `reason` instead of a value where it was not computed."""

    value: str
    status: str
    seconds: str
    best: bool
    reason: str


@dataclass(frozen=True)
class LadderTable:
    """The ladder of one norm: rows are (rung, assumes, cells)."""

    norm: str
    title: str
    nets: tuple[Net, ...]
    rows: tuple[tuple[str, str, tuple[Cell | None, ...]], ...]
    no_constant: tuple[str, ...]


def ladder_tables(shown: Sequence[Net]) -> tuple[LadderTable, ...]:
    """A table for each norm that any net has a ladder for, rungs in the order first met."""
    audited = [net for net in shown if net.audit is not None]
    audits = [net.audit for net in audited if net.audit is not None]
    tables = []
    for norm in norms(audits):
        holders = tuple(net for net in audited if net.audit is not None and norm in net.audit.bounds)
        if not holders:
            continue
        names = dict.fromkeys(r.rung for net in holders if net.audit for r in net.audit.bounds[norm].ladder)
        rows = []
        for name in names:
            rungs = [_find(net, norm, name) for net in holders]
            assumes = next((r.assumes for r in rungs if r is not None and r.value is not None), "")
            rows.append((name, assumes, tuple(_cell(net, norm, r) for net, r in zip(holders, rungs, strict=True))))
        none = tuple(net.name for net in holders if net.audit and net.audit.bounds[norm].best is None)
        tables.append(LadderTable(norm, fmt.norm(norm), holders, tuple(rows), none))
    return tuple(tables)


def gap_rows(shown: Sequence[Net], threats: Sequence[tuple[str, float]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each threat the (measured, bound) of each audited net, as shown; empty where no net has a gap."""
    audited = [net for net in shown if net.audit is not None]
    rows = []
    for norm, e in threats:
        gaps = [_gap(net, norm, e) for net in audited]
        if any(gap is not None for gap in gaps):
            cells = [
                (fmt.MISSING, fmt.MISSING) if g is None else (fmt.number(g.measured), fmt.number(g.bound)) for g in gaps
            ]
            rows.append((fmt.threat(norm, e), cells))
    return rows


def _find(net: Net, norm: str, name: str) -> Rung | None:
    assert net.audit is not None
    return next((r for r in net.audit.bounds[norm].ladder if r.rung == name), None)


def _cell(net: Net, norm: str, rung: Rung | None) -> Cell | None:
    if rung is None or net.audit is None:
        return None
    best = net.audit.bounds[norm].best
    is_best = rung.value is not None and rung.value == best and rung.status in ("upper_bound", "exact")
    reason = rung.assumes if rung.value is None else ""
    return Cell(fmt.number(rung.value), rung.status, fmt.seconds(rung.seconds), is_best, reason)


def _gap(net: Net, norm: str, epsilon: float) -> Gap | None:
    assert net.audit is not None
    key = threat_key(norm, epsilon)
    return next((g for g in net.audit.gaps if threat_key(g.norm, g.epsilon) == key), None)

"""One perturbation for all inputs, and adversaries without the weights: bars, intervals and pictures for tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.nets import Net, children
from brittle.report.pictures import within_budget
from brittle.results.perturbations import Universal, WeightFree

MAX_CHARACTERS = 50_000


@dataclass(frozen=True)
class Meter:
    """A bar from 0 to 100 %: the value, its interval and a control in percent of the width, None if absent."""

    value: float
    low: float | None
    high: float | None
    control: float | None


@dataclass(frozen=True)
class UniversalRow:
    """One perturbation of one net; a dash where an older audit did not say."""

    net: Net
    png: str | None
    method: str
    target: str
    meter: Meter
    rate: str
    interval: str
    control: str
    accuracy: str
    n: str
    fitted: str
    held_out: bool


@dataclass(frozen=True)
class UniversalGroup:
    """All perturbations at one threat."""

    title: str
    rows: tuple[UniversalRow, ...]


@dataclass(frozen=True)
class WeightFreeRow:
    """What one adversary without the weights reached on one net."""

    net: Net
    knowledge: str
    kind: str
    threat: str
    source: str
    meter: Meter | None
    share: str
    interval: str
    accuracy: str
    white_box: str
    queries: str
    n: str


def universal_groups(shown: Sequence[Net]) -> tuple[tuple[UniversalGroup, ...], int]:
    """(a group for each threat, nets side by side in it; how many pictures were left out of the page)."""
    found: dict[tuple[str, float], list[tuple[Net, Universal]]] = {}
    for net in shown:
        for u in net.audit.universal if net.audit is not None else ():
            found.setdefault((u.norm, u.epsilon), []).append((net, u))
    for rows in found.values():
        # one method for all nets, then the next, so that nets compare
        methods = list(dict.fromkeys((u.method, u.target) for _, u in rows))
        rows.sort(key=lambda row: methods.index((row[1].method, row[1].target)))
    pictures, left_out = within_budget((u.png for rows in found.values() for _, u in rows), MAX_CHARACTERS)
    png = iter(pictures)
    groups = tuple(
        UniversalGroup(fmt.threat(norm, epsilon), tuple(_universal(net, u, next(png)) for net, u in rows))
        for (norm, epsilon), rows in found.items()
    )
    return groups, left_out


def weight_free_rows(shown: Sequence[Net]) -> tuple[WeightFreeRow, ...]:
    """The adversaries that only asked the net, then those that used another net's weights."""
    rows = []
    for net in shown:
        for found in net.audit.weight_free if net.audit is not None else ():
            rows.append(_weight_free(net, found))
    for net in children(shown):
        for found in net.audit.comparison.weight_free if net.audit and net.audit.comparison else ():
            rows.append(_weight_free(net, found))
    return tuple(rows)


def meter(value: float, interval: tuple[float, float] | None, control: float | None) -> Meter:
    """Fractions as places on a bar; beyond its ends they are drawn at the end."""
    low, high = (None, None) if interval is None else map(_place, interval)
    return Meter(_place(value), low, high, None if control is None else _place(control))


def _place(fraction: float) -> float:
    return round(100 * min(1.0, max(0.0, fraction)), 1)


def _universal(net: Net, u: Universal, png: str | None) -> UniversalRow:
    known = u.n > 0
    return UniversalRow(
        net=net,
        png=png,
        method=u.method or fmt.MISSING,
        target="" if u.target is None else u.target,
        meter=meter(u.fooling_rate, u.interval95 if known else None, u.control if known else None),
        rate=fmt.percent(u.fooling_rate),
        interval=fmt.percent_interval(u.interval95) if known else "",
        control=fmt.percent(u.control) if known else fmt.MISSING,
        accuracy=f"{fmt.percent(u.clean)} → {fmt.percent(u.accuracy)}" if known else fmt.MISSING,
        n=fmt.count(u.n) if known else fmt.MISSING,
        fitted=fmt.count(u.fitted) if known else fmt.MISSING,
        held_out=u.held_out,
    )


def _weight_free(net: Net, found: WeightFree) -> WeightFreeRow:
    share = found.damage_share
    return WeightFreeRow(
        net=net,
        knowledge={"surrogate": "another net's weights", "queries": "logits only"}.get(
            found.knowledge, found.knowledge
        ),
        kind=found.kind,
        threat=fmt.threat(found.norm, found.epsilon),
        source=found.source,
        meter=None if share is None else meter(share, found.interval95, None),
        share=fmt.percent(share),
        interval="" if found.interval95 is None else fmt.percent_interval(found.interval95),
        accuracy=fmt.percent(found.accuracy),
        white_box=fmt.percent(found.white_box),
        queries=fmt.count(found.queries),
        n=fmt.count(found.n),
    )

"""The comparison table: one row for each threat and net, and the drops class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.report.nets import Net, base_of, children, paired_at, robustness_at
from brittle.report.rule import Word, max_drop, pair_word
from brittle.results.audit import Paired

MAX_CLASSES = 20


@dataclass(frozen=True)
class Row:
    """One net under one threat, ready to show; a dash where nothing was measured."""

    net: Net
    n: str
    clean: str
    robust: str
    robust_interval: str
    certified: str
    certified_by: str
    attack: str
    noise: str
    drop: str
    drop_interval: str
    clean_drop: str
    clean_interval: str
    noise_drop: str
    ratio_drop: str
    flips: str
    word: Word | None


@dataclass(frozen=True)
class ThreatRows:
    """All nets under one threat."""

    norm: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ClassRows:
    """Drops in points at one threat: `rows` are (class, drops per net); `hidden` classes changed less."""

    title: str
    nets: tuple[Net, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    hidden: int


def threat_rows(shown: Sequence[Net], threats: Sequence[tuple[str, float]]) -> tuple[ThreatRows, ...]:
    """The table, one group for each threat."""
    return tuple(
        ThreatRows(
            norm, fmt.threat(norm, e), tuple(row for net in shown if (row := _row(net, norm, e, shown)) is not None)
        )
        for norm, e in threats
    )


def class_rows(shown: Sequence[Net], threats: Sequence[tuple[str, float]]) -> tuple[ClassRows, ...]:
    """Drops for each class and threat, classes in their order; with many classes only those that changed most."""
    groups = []
    for norm, e in threats:
        pairs = [(net, pair) for net in children(shown) if (pair := paired_at(net, norm, e)) is not None]
        labels = list(dict.fromkeys(label for _, pair in pairs for label in pair.per_class))
        if not labels:
            continue
        drops = {label: tuple(pair.per_class.get(label) for _, pair in pairs) for label in labels}
        size = {label: max(abs(d) for d in drops[label] if d is not None) for label in labels}
        kept = set(sorted(labels, key=lambda label: -size[label])[:MAX_CLASSES])
        rows = tuple((label, drops[label]) for label in labels if label in kept)
        groups.append(ClassRows(fmt.threat(norm, e), tuple(net for net, _ in pairs), rows, len(labels) - len(rows)))
    return tuple(groups)


def _row(net: Net, norm: str, epsilon: float, shown: Sequence[Net]) -> Row | None:
    measured, pair = robustness_at(net, norm, epsilon), paired_at(net, norm, epsilon)
    if measured is None:
        return _base_row(net, norm, epsilon, shown) if net.audit is None else None
    assert net.audit is not None
    return Row(
        net=net,
        n=fmt.count(measured.n),
        clean=fmt.percent(measured.clean),
        robust=fmt.percent(measured.attacked),
        robust_interval=fmt.percent_interval(measured.interval95),
        certified=fmt.percent(measured.certified),
        certified_by=measured.certified_by,
        attack=measured.attack,
        noise=fmt.percent(measured.noise),
        word=None if pair is None else pair_word(pair, max_drop(net.audit)),
        **_drops(pair),
    )


def _drops(pair: Paired | None) -> dict[str, str]:
    names = ("drop", "drop_interval", "clean_drop", "clean_interval", "noise_drop", "ratio_drop", "flips")
    if pair is None:
        return dict.fromkeys(names, fmt.MISSING)
    ratio = None if pair.ratio_drop is None else 100 * pair.ratio_drop
    texts = (
        fmt.points(pair.drop_points),
        fmt.points_interval(pair.interval95),
        fmt.points(pair.clean_drop_points),
        fmt.points_interval(pair.clean_interval95),
        fmt.points(pair.noise_drop_points),
        fmt.points(ratio),
        f"{fmt.count(pair.lost)} / {fmt.count(pair.gained)}",
    )
    return dict(zip(names, texts, strict=True))


def _base_row(net: Net, norm: str, epsilon: float, shown: Sequence[Net]) -> Row | None:
    """A base without its own audit, from the first comparison that names it: clean and attacked accuracy only."""
    for child in children(shown):
        pair, measured = paired_at(child, norm, epsilon), robustness_at(child, norm, epsilon)
        if pair is None or base_of(child, shown) != net:
            continue
        clean = None if measured is None else measured.clean + pair.clean_drop_points / 100
        noise = None if measured is None else measured.noise + pair.noise_drop_points / 100
        return Row(
            net=net,
            n=fmt.count(pair.n),
            clean=fmt.percent(clean),
            robust=fmt.percent(pair.base_robust),
            robust_interval="",
            certified=fmt.MISSING,
            certified_by="not in this report: the base's own audit was not given",
            attack="" if measured is None else measured.attack,
            noise=fmt.percent(noise),
            word=None,
            **_drops(None),
        )
    return None

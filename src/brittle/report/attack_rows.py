"""What `brittle attack` found as plain tables of texts: the terminal and the page both show these."""

from __future__ import annotations

from dataclasses import dataclass

from brittle.report import format as fmt
from brittle.results.attack import AttackResult
from brittle.results.perturbations import RadiusCurve


@dataclass(frozen=True)
class AttackTable:
    """A table: its title, what an anchor calls it, headings (the first column has none), rows, and the rows that count.

    A row whose first cell is empty belongs to the one above it; `bold` are places of rows that say the result.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[int] = frozenset()


def attack_tables(result: AttackResult) -> tuple[AttackTable, ...]:
    """The tables that have something to show, in the order of the record."""
    made = (_attempts(result), _radii(result), _universal(result), _explained(result), _transfer(result))
    return tuple(table for table in made if table.rows)


def _attempts(result: AttackResult) -> AttackTable:
    rows: list[tuple[str, ...]] = []
    bold = set()
    for row in result.attempts:
        rows.append((fmt.threat(row.norm, row.epsilon), "no attack", fmt.percent(row.clean)))
        rows.append(("", "noise of full length", fmt.percent(row.noise)))
        rows += [("", step.attack, fmt.percent(step.accuracy)) for step in row.steps[:-1]]
        last = f"{fmt.percent(row.attacked)} {fmt.percent_interval(row.interval95)}"
        bold.add(len(rows))
        rows.append(("", row.steps[-1].attack, last))
    title = "Accuracy under attack (robust accuracy is at most this)"
    return AttackTable("attempts", title, ("after", "accuracy [95%]"), tuple(rows), frozenset(bold))


def _radii(result: AttackResult) -> AttackTable:
    rows = tuple(
        (fmt.norm(curve.norm), curve.attack, *(_quantile(curve, q) for q in ("0.1", "0.5", "0.9")))
        for curve in result.radii
    )
    title = "Smallest radius found (the true one is at most this)"
    return AttackTable("radii", title, ("attack", "10%", "median", "90%"), rows)


def _quantile(curve: RadiusCurve, share: str) -> str:
    value = curve.quantiles.get(share)
    return fmt.MISSING if value is None else fmt.number(value)


def _universal(result: AttackResult) -> AttackTable:
    rows = tuple(
        (
            fmt.threat(row.norm, row.epsilon) + ("" if row.target is None else f" to {row.target}"),
            f"{fmt.percent(row.fooling_rate)} {fmt.percent_interval(row.interval95)}",
            fmt.percent(row.control),
            f"{fmt.percent(row.clean)} → {fmt.percent(row.accuracy)}",
            fmt.count(row.n),
        )
        for row in result.universal
    )
    title = "One perturbation for all inputs, scored on others"
    return AttackTable("universal", title, ("fools [95%]", "random ones", "accuracy", "n"), rows)


def _explained(result: AttackResult) -> AttackTable:
    rows: list[tuple[str, ...]] = []
    for row in result.explained:
        where = f"{fmt.threat(row.norm, row.epsilon)}, {row.map}" + ("" if row.box else ", no pixel box")
        for i, point in enumerate(row.curve):
            interval = fmt.MISSING if point.interval95 is None else fmt.percent_interval(point.interval95)
            leading = fmt.MISSING if point.damage is None else f"{fmt.percent(point.damage)} {interval}"
            random = fmt.MISSING if point.random_damage is None else fmt.percent(point.random_damage)
            rows.append((where if i == 0 else "", str(point.m), leading, random))
    title = "Share of the full attack's damage along m directions"
    return AttackTable("explained", title, ("m", "leading [95%]", "random"), tuple(rows))


def _transfer(result: AttackResult) -> AttackTable:
    rows = tuple(
        (
            fmt.threat(row.norm, row.epsilon),
            row.kind,
            row.source,
            f"{fmt.percent(row.accuracy)} {fmt.percent_interval(row.interval95)}",
            fmt.MISSING if row.damage_share is None else fmt.percent(row.damage_share),
        )
        for row in result.transfer
    )
    headings = ("kind", "made on", "accuracy [95%]", "share of own damage")
    return AttackTable("transfer", "Perturbations made on another net", headings, rows)

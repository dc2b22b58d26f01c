"""The result of `brittle attack` on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brittle.report import format as fmt
from brittle.results.attack import AttackResult
from brittle.results.perturbations import RadiusCurve

_FINDING_STYLES = {"warning": "yellow", "problem": "bold red"}


def attack_table(result: AttackResult) -> Group:
    """Everything the command line shows of one attack, to be printed by a rich console."""
    parts: list[RenderableType] = [
        Text(f"{result.model.name} on {result.data.name}, {fmt.plural(result.data.samples, 'test sample')}")
    ]
    if result.partial:
        parts.append(Text("Stopped at the time limit: the results are partial.", style="yellow"))
    tables = (_attempts, _radii, _universal, _explained, _transfer)
    parts += [table for make in tables if (table := make(result)) is not None]
    parts += [
        Text(f"{check.verdict}: {check.check}. {check.advice}", style=_FINDING_STYLES[check.verdict])
        for check in result.preflight
        if check.verdict in _FINDING_STYLES
    ]
    return Group(*parts)


def _attempts(result: AttackResult) -> Table | None:
    table = _table("Accuracy under attack (robust accuracy is at most this)", "after", "accuracy [95%]")
    for row in result.attempts:
        threat = fmt.threat(row.norm, row.epsilon)
        table.add_row(threat, "no attack", fmt.percent(row.clean))
        table.add_row("", "noise of full length", fmt.percent(row.noise))
        for step in row.steps[:-1]:
            table.add_row("", step.attack, fmt.percent(step.accuracy))
        last = f"{fmt.percent(row.attacked)} {fmt.percent_interval(row.interval95)}"
        table.add_row("", row.steps[-1].attack, Text(last, style="bold"))
    return table if result.attempts else None


def _radii(result: AttackResult) -> Table | None:
    table = _table("Smallest radius found (the true one is at most this)", "attack", "10%", "median", "90%")
    for curve in result.radii:
        table.add_row(fmt.norm(curve.norm), curve.attack, *(_quantile(curve, q) for q in ("0.1", "0.5", "0.9")))
    return table if result.radii else None


def _quantile(curve: RadiusCurve, share: str) -> str:
    value = curve.quantiles.get(share)
    return fmt.MISSING if value is None else fmt.number(value)


def _universal(result: AttackResult) -> Table | None:
    table = _table("One perturbation for all inputs, scored on others", "fools [95%]", "random ones", "accuracy", "n")
    for row in result.universal:
        target = "" if row.target is None else f" to {row.target}"
        table.add_row(
            fmt.threat(row.norm, row.epsilon) + target,
            f"{fmt.percent(row.fooling_rate)} {fmt.percent_interval(row.interval95)}",
            fmt.percent(row.control),
            f"{fmt.percent(row.clean)} → {fmt.percent(row.accuracy)}",
            fmt.count(row.n),
        )
    return table if result.universal else None


def _explained(result: AttackResult) -> Table | None:
    table = _table("Share of the full attack's damage along m directions", "m", "leading [95%]", "random")
    for row in result.explained:
        where = f"{fmt.threat(row.norm, row.epsilon)}, {row.map}" + ("" if row.box else ", no pixel box")
        for i, point in enumerate(row.curve):
            interval = fmt.MISSING if point.interval95 is None else fmt.percent_interval(point.interval95)
            leading = fmt.MISSING if point.damage is None else f"{fmt.percent(point.damage)} {interval}"
            random = fmt.MISSING if point.random_damage is None else fmt.percent(point.random_damage)
            table.add_row(where if i == 0 else "", str(point.m), leading, random)
    return table if result.explained else None


def _transfer(result: AttackResult) -> Table | None:
    table = _table("Perturbations made on another net", "kind", "made on", "accuracy [95%]", "share of own damage")
    for row in result.transfer:
        share = fmt.MISSING if row.damage_share is None else fmt.percent(row.damage_share)
        table.add_row(
            fmt.threat(row.norm, row.epsilon),
            row.kind,
            row.source,
            f"{fmt.percent(row.accuracy)} {fmt.percent_interval(row.interval95)}",
            share,
        )
    return table if result.transfer else None


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, min_width=len(title))
    for heading in ("", *headings):
        table.add_column(heading, overflow="fold")
    return table

"""Rows that list what the records say about themselves: settings, preflight findings, what was not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from brittle.report import format as fmt
from brittle.report.nets import Net
from brittle.results.audit import Audit, Check
from brittle.results.layer import Unmeasured

MAX_DIRECTION_ROWS = 60


def setting_rows(audited: Sequence[Net]) -> list[tuple[str, list[str]]]:
    """(label, value for each net) of all that is needed to run the audits again."""
    audits = [net.audit for net in audited if net.audit is not None]
    return [
        ("data", [f"{a.data.name}, {a.data.split}" for a in audits]),
        ("samples", [fmt.count(a.data.samples) for a in audits]),
        ("data sha256", [a.data.sha256 for a in audits]),
        ("seed", [str(a.seed) for a in audits]),
        ("effort", [a.settings.effort for a in audits]),
        ("batch size", [fmt.count(a.settings.batch_size) for a in audits]),
        ("dtype", [a.settings.dtype for a in audits]),
        ("device", [a.settings.device for a in audits]),
        ("brittle", [a.brittle for a in audits]),
        ("torch", [a.settings.torch for a in audits]),
        ("parameters", [fmt.count(a.model.parameters) for a in audits]),
        ("recipe", [_recipe(a) for a in audits]),
        ("time", [fmt.seconds(a.settings.seconds) for a in audits]),
    ]


def preflight_rows(audited: Sequence[Net]) -> list[tuple[Check, list[Net]]]:
    """Every finding once with the nets it holds for, problems first."""
    found: dict[Check, list[Net]] = {}
    for net in audited:
        for check in net.audit.preflight if net.audit is not None else ():
            found.setdefault(check, []).append(net)
    order = ("problem", "warning", "ok")
    return sorted(found.items(), key=lambda item: order.index(item[0].verdict))


def unmeasured_rows(audited: Sequence[Net]) -> list[tuple[Unmeasured, list[Net]]]:
    """Every weight without a layer row, once, with the nets it belongs to."""
    found: dict[Unmeasured, list[Net]] = {}
    for net in audited:
        for weight in net.audit.unmeasured if net.audit is not None else ():
            found.setdefault(weight, []).append(net)
    return list(found.items())


def not_computed(audited: Sequence[Net]) -> list[tuple[str, str, str]]:
    """(rung, reason, where) of every bound without a value: `where` lists norms and nets."""
    found: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for net in audited:
        for norm, ladder in net.audit.bounds.items() if net.audit is not None else ():
            for rung in ladder.ladder:
                if rung.value is None:
                    signs, names = found.setdefault((rung.rung, rung.assumes.rstrip(".")), ({}, {}))
                    signs[fmt.norm(norm)] = names[net.name] = None
    return [
        (rung, reason, f"{', '.join(signs)}; {'all nets' if len(names) == len(audited) > 1 else ', '.join(names)}")
        for (rung, reason), (signs, names) in found.items()
    ]


def direction_rows(audited: Sequence[Net]) -> list[tuple[Net, str, str]]:
    """(net, dotted name, value) of the numbers in `directions`; long lists are cut, long tables too."""
    rows: list[tuple[Net, str, str]] = []
    for net in audited:
        flat = _flatten(net.audit.directions, "") if net.audit is not None else []
        rows += [(net, name, value) for name, value in flat[:MAX_DIRECTION_ROWS]]
    return rows


def _recipe(audit: Audit) -> str:
    if not audit.model.recipe:
        return fmt.MISSING
    return ", ".join(f"{key}={value}" for key, value in audit.model.recipe.items())


def _flatten(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flatten(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list | tuple):
        if any(isinstance(inner, Mapping | list | tuple) for inner in value):
            return [row for i, inner in enumerate(value) for row in _flatten(inner, f"{name}[{i}]")]
        shown = ", ".join(_scalar(inner) for inner in value[:8])
        return [(name, shown + (f", … ({len(value)} in all)" if len(value) > 8 else ""))]
    return [(name, _scalar(value))]


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return fmt.number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return fmt.count(value)
    return fmt.MISSING if value is None else str(value)[:200]

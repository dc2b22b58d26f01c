"""Rows that list what the records say about themselves: settings, findings, what was not computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brittle.report import format as fmt
from brittle.report.nets import Net
from brittle.report.recipe_words import recipe_words
from brittle.results.audit import Audit, Check
from brittle.results.layer import Unmeasured


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
        ("recipe", [recipe_words(a.model.recipe, fmt.MISSING) for a in audits]),
        ("time", [fmt.seconds(a.settings.seconds) for a in audits]),
    ]


def finding_rows(audited: Sequence[Net]) -> list[tuple[Check, list[Net]]]:
    """Every finding of preflight and of the search for masked gradients, once, with its nets; problems first."""
    return _merged(audited, lambda audit: (*audit.preflight, *audit.masking))


def masking_rows(audited: Sequence[Net]) -> list[tuple[Check, list[Net]]]:
    """The signs of masked gradients that are no "ok", with the nets they hold for: they belong beside the brackets."""
    return [row for row in _merged(audited, lambda audit: audit.masking) if row[0].verdict != "ok"]


def _merged(audited: Sequence[Net], checks: Callable[[Audit], tuple[Check, ...]]) -> list[tuple[Check, list[Net]]]:
    found: dict[Check, list[Net]] = {}
    for net in audited:
        for check in dict.fromkeys(checks(net.audit)) if net.audit is not None else ():
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

"""The findings of one audit as SARIF results; an audit with nothing to object to has none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from brittle.report import format as fmt
from brittle.report.rule import BRITTLE, UNDECIDED, max_drop, pair_word
from brittle.report.sarif_rules import DROP, LAYER, MASKING, PREFLIGHT, RULES, Rule
from brittle.results.audit import Audit, Check, LayerChange, Paired
from brittle.results.robustness import threat_key

# Layers named for each norm, and the smallest growth of the log norm worth a line (a factor of 1.01).
LAYERS_NAMED = 3
_GROWTH = 0.01
_CHECK_LEVELS = {"warning": "warning", "problem": "error"}


def audit_results(audit: Audit) -> tuple[dict[str, Any], ...]:
    """Objects for `run.results` (SARIF 2.1.0, 3.27): threats first, then layers, masking, preflight.

    Brittle is kind "fail", level "error"; undecided is kind "open", a layer kind "informational", both with level
    "none", as the standard asks of what is no failure. Warnings and problems of checks keep their weight.
    """
    return (*_threats(audit), *_layers(audit), *_checks(audit, MASKING), *_checks(audit, PREFLIGHT))


def _threats(audit: Audit) -> Iterator[dict[str, Any]]:
    for pair in audit.comparison.paired if audit.comparison is not None else ():
        word = pair_word(pair, max_drop(audit))
        if word in (BRITTLE, UNDECIDED):
            failed = word == BRITTLE
            result = _result(
                audit,
                DROP,
                f"{_subject(audit)} is {word.text}{_sentence(pair, max_drop(audit))}{_needed(pair, failed)}",
                threat_key(pair.norm, pair.epsilon),
                kind="fail" if failed else "open",
                level="error" if failed else "none",
            )
            yield {**result, "properties": _numbers(audit, pair)}


def _subject(audit: Audit) -> str:
    base = audit.comparison.base.name if audit.comparison is not None else ""
    return f"{audit.model.name} against {base}"


def _sentence(pair: Paired, tolerance: float) -> str:
    return (
        f" under {fmt.threat(pair.norm, pair.epsilon)}: drop {fmt.points(pair.drop_points)} points, 95% interval "
        f"{fmt.points_interval(pair.interval95)}, n = {fmt.count(pair.n)}, tolerated {tolerance:.1f}; robust accuracy "
        f"{fmt.percent(pair.base_robust)} to {fmt.percent(pair.robust)}, clean drop "
        f"{fmt.points(pair.clean_drop_points)} points."
    )


def _needed(pair: Paired, failed: bool) -> str:
    if failed or pair.samples_to_decide is None:
        return ""
    return f" About {fmt.count(pair.samples_to_decide)} samples would decide, if the drop stays what it is."


def _numbers(audit: Audit, pair: Paired) -> dict[str, Any]:
    return {
        "norm": pair.norm,
        "epsilon": pair.epsilon,
        "samples": pair.n,
        "dropPoints": pair.drop_points,
        "interval95": list(pair.interval95),
        "status": "estimate",
        "maxDropPoints": max_drop(audit),
    }


def _layers(audit: Audit) -> Iterator[dict[str, Any]]:
    if audit.comparison is None:
        return
    pairs, tolerance = audit.comparison.paired, max_drop(audit)
    for norm in dict.fromkeys(p.norm for p in pairs if pair_word(p, tolerance) == BRITTLE):
        grown = [c for c in audit.comparison.attribution if _change(c, norm) > _GROWTH]
        for change in sorted(grown, key=lambda c: -_change(c, norm))[:LAYERS_NAMED]:
            total, structure = _change(change, norm), _structure(change, norm)
            text = (
                f"Layer {change.layer} of {audit.model.name}: its {fmt.norm(norm)} norm grew "
                f"{fmt.factor(math.exp(total))} (log {fmt.logs(total)}: scale {fmt.logs(change.log_scale)}, structure "
                f"{fmt.logs(structure)}). It explains a bound, not the cause of the drop."
            )
            result = _result(audit, LAYER, text, f"{norm}:{change.layer}", kind="informational", level="none")
            names = [{"name": change.layer, "fullyQualifiedName": clean(f"{audit.model.name}::{change.layer}")}]
            result["locations"][0]["logicalLocations"] = names
            yield result


def _structure(change: LayerChange, norm: str) -> float:
    return float(getattr(change, f"log_structure_{norm}", 0.0))


def _change(change: LayerChange, norm: str) -> float:
    return change.log_scale + _structure(change, norm)


def _checks(audit: Audit, rule: Rule) -> Iterator[dict[str, Any]]:
    checks: tuple[Check, ...] = audit.masking if rule is MASKING else audit.preflight
    for check in checks:
        if check.verdict in _CHECK_LEVELS:
            text = f"{audit.model.name}, {check.check}: {check.advice}"
            yield _result(audit, rule, text, check.check, kind="fail", level=_CHECK_LEVELS[check.verdict])


def _result(audit: Audit, rule: Rule, text: str, what: str, *, kind: str, level: str) -> dict[str, Any]:
    """One result. Its fingerprint names the finding, not its numbers, so that later runs meet the same alert again.

    The key of the fingerprint and the first line of a file that has no lines are what GitHub's code scanning reads.
    """
    finding = "\n".join((rule.id, audit.model.name, audit.data.name, what))
    return {
        "ruleId": rule.id,
        "ruleIndex": RULES.index(rule),
        "kind": kind,
        "level": level,
        "message": {"text": clean(text)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": model_uri(audit.model.name)},
                    "region": {"startLine": 1},
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": hashlib.sha256(clean(finding).encode()).hexdigest()[:32]},
    }


def model_uri(name: str) -> str:
    """A model's name as a URI reference: "out/a b.safetensors" -> "out/a%20b.safetensors"; absolute paths as file:."""
    path = quote(clean(name).replace("\\", "/"), safe="/") or "model"
    return f"file://{path}" if path.startswith("/") else path


def clean(text: str) -> str:
    """Text that JSON readers take: names may come from file systems with bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()

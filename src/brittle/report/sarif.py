"""SARIF 2.1.0 for code scanning: all audits of a command as one run, each finding as a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from brittle.report.sarif_results import audit_results, clean
from brittle.report.sarif_rules import RULES
from brittle.results.audit import Audit

VERSION: Final = "2.1.0"
SCHEMA_URI: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_json(audits: Sequence[Audit]) -> str:
    """The findings of the audits as a SARIF log (OASIS, SARIF 2.1.0), JSON text in ASCII.

    One run holds all audits: services that show such files expect one run for each tool. A model with nothing to
    object to gives no result, so an empty list of results says that all is well.
    """
    log = {"$schema": SCHEMA_URI, "version": VERSION, "runs": [_run(audits)]}
    return json.dumps(log, indent=1, allow_nan=False) + "\n"


def _run(audits: Sequence[Audit]) -> dict[str, Any]:
    version = audits[0].brittle if audits else ""
    return {
        "tool": {
            "driver": {
                "name": "brittle",
                **({"version": version} if version else {}),
                "rules": [rule.to_sarif() for rule in RULES],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(audit) for audit in audits],
        "results": [result for audit in audits for result in audit_results(audit)],
    }


def _invocation(audit: Audit) -> dict[str, Any]:
    """How one model was audited; an audit that stopped at its time limit says so."""
    settings = audit.settings
    found: dict[str, Any] = {
        "executionSuccessful": not audit.partial,
        "commandLine": clean(settings.command),
        "properties": {
            "model": clean(audit.model.name),
            "data": clean(audit.data.name),
            "samples": audit.data.samples,
            "sha256": audit.data.sha256,
            "seed": audit.seed,
            "effort": settings.effort,
            "seconds": settings.seconds,
        },
    }
    if audit.partial:
        text = f"{clean(audit.model.name)}: stopped at the time limit; what was not measured is not among the results"
        found["toolExecutionNotifications"] = [{"level": "warning", "message": {"text": text}}]
    return found

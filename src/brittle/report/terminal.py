"""An audit on the terminal: the verdict, the brackets, what changed, and what to watch."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from brittle.report import format as fmt
from brittle.report.headline import headline
from brittle.report.nets import nets
from brittle.report.tables import attribution_table, bracket_table, layer_table, verdict_text
from brittle.results.audit import Audit

_FINDING_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def audit_table(audit: Audit) -> Group:
    """Everything the command line shows of one audit, to be printed by a rich console."""
    shown = nets([audit])
    card = headline(next(net for net in shown if net.audit is audit), shown)
    parts: list[RenderableType] = [verdict_text(card.word), Text(card.sentence), *map(Text, card.findings)]
    if audit.partial:
        parts.append(Text("Stopped at the time limit: the results are partial.", style="yellow"))
    parts += [Text(f"→ {step.replace('`', '')}") for step in card.next_steps]
    if audit.robustness:
        parts += [Text(), bracket_table(audit)]
    attribution = attribution_table(audit)
    if attribution is not None and audit.comparison is not None:
        parts += [Text(), attribution, Text(audit.comparison.caution, style="italic")]
    if audit.layers:
        parts += [Text(), layer_table(audit)]
    parts += _notes(audit)
    return Group(*parts)


def _notes(audit: Audit) -> list[RenderableType]:
    found = [check for check in (*audit.preflight, *audit.masking) if check.verdict != "ok"]
    notes: list[RenderableType] = [
        Text(f"{check.verdict}: {check.check}. {check.advice}", style=_FINDING_STYLES[check.verdict]) for check in found
    ]
    if audit.unmeasured:
        names = ", ".join(weight.name for weight in audit.unmeasured[:4])
        rest = ", …" if len(audit.unmeasured) > 4 else ""
        notes.append(Text(f"Not measured: {fmt.plural(len(audit.unmeasured), 'weight')} ({names}{rest}).", style="dim"))
    return [Text(), *notes] if notes else []

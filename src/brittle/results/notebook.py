"""How results show themselves in a notebook: the headline and one table, plain HTML without scripts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brittle.results.audit import Audit
    from brittle.results.compression import CompressionResult


def audit_html(audit: Audit) -> str:
    """A heading with the verdict and the table of brackets, certified <= true <= attacked."""
    word = "profile"
    if audit.verdict is not None:
        word = {True: "brittle", False: "not brittle", None: "undecided"}[audit.verdict.brittle]
    partial = " (stopped at the time limit: partial)" if audit.partial else ""
    rows = "".join(
        f"<tr><td>{r.norm} {r.epsilon:g}</td><td>{r.clean:.3f}</td><td>{r.certified:.3f}</td><td>{r.attacked:.3f}</td>"
        f"<td>[{r.interval95[0]:.3f}, {r.interval95[1]:.3f}]</td><td>{r.n}</td></tr>"
        for r in audit.robustness
    )
    return (
        f"<p><b>{escape(audit.model.name)}</b> on {escape(audit.data.name)}: <b>{word}</b>{partial}</p>"
        "<table><tr><th>threat</th><th>clean</th><th>certified</th><th>attacked</th><th>95 %</th><th>n</th></tr>"
        f"{rows}</table>"
    )


def compression_html(result: CompressionResult) -> str:
    """Sizes in a heading, and the table of accuracies of parent, child before its recovery, and child."""
    nets = (("parent", result.parent_scores), ("before recovery", result.before_recovery), ("compressed", result.after))
    scored = [(name, scores) for name, scores in nets if scores is not None]
    threats = list(dict.fromkeys((r.norm, r.epsilon) for _, scores in scored for r in scores.robust))
    head = "".join(f"<th>{norm} {epsilon:g}</th>" for norm, epsilon in threats)
    rows = ""
    for name, scores in scored:
        attacked = {(r.norm, r.epsilon): f"{r.attacked:.3f}" for r in scores.robust}
        cells = "".join(f"<td>{attacked.get(threat, '')}</td>" for threat in threats)
        rows += f"<tr><td>{name}</td><td>{scores.clean:.3f}</td>{cells}<td>{scores.n}</td></tr>"
    partial = " (stopped at the time limit: partial)" if result.partial else ""
    before, after = result.parent_size.parameters, result.child_size.parameters
    return (
        f"<p><b>{escape(result.parent.name)}</b>, method {escape(result.asked.method)}: {before} \u2192 <b>{after}</b> "
        f"parameters{partial}</p><table><tr><th>net</th><th>clean</th>{head}<th>n</th></tr>{rows}</table>"
    )

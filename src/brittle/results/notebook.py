"""How an audit shows itself in a notebook: the headline and one table, plain HTML without scripts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brittle.results.audit import Audit


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

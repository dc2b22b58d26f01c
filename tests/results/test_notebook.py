"""An audit in a notebook: the headline and the brackets, names escaped."""

from __future__ import annotations

from dataclasses import replace

from tests.made_audits import made_audit


def test_the_verdict_and_every_bracket_are_shown() -> None:
    words = {"original": "profile", "low-rank": "brittle", "neuron-pruned": "undecided", "narrow": "not brittle"}
    for name, word in words.items():
        audit = made_audit(name)
        page = audit._repr_html_()
        assert f"<b>{name}</b> on digits: <b>{word}</b>" in page
        assert page.count("<tr>") == 1 + len(audit.robustness)
        for row in audit.robustness:
            assert f"<td>{row.norm} {row.epsilon:g}</td><td>{row.clean:.3f}</td><td>{row.certified:.3f}</td>" in page


def test_partial_results_are_marked() -> None:
    audit = made_audit("low-rank")
    assert "stopped at the time limit" not in audit._repr_html_()
    assert "stopped at the time limit" in replace(audit, partial=True)._repr_html_()


def test_names_cannot_smuggle_in_markup() -> None:
    audit = made_audit("original")
    nasty = replace(audit, model=replace(audit.model, name="<script>x</script>"))
    assert "<script>" not in nasty._repr_html_()

"""The plain-words verdict says the right threat, numbers and next step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brittle.report import format as fmt
from brittle.report.headline import Headline, deciding_pair, headline, summary
from brittle.report.nets import nets
from brittle.report.rule import audit_word
from brittle.results.audit import Audit, Check
from tests.made_audits import made_audit, made_audits


def card(audit: Audit) -> Headline:
    shown = nets([audit])
    return headline(next(net for net in shown if net.audit is audit), shown)


def test_summary_counts_the_verdicts() -> None:
    assert (
        summary(nets(made_audits())) == "One of three compressed nets is brittle, one is undecided, one is not brittle."
    )
    assert summary(nets(made_audits()[:2])) == "The compressed net is brittle."
    assert summary(nets(made_audits()[:1])).startswith("A profile")


@pytest.mark.parametrize("name", ["low-rank", "neuron-pruned", "narrow"])
def test_sentence_names_threat_drop_interval_and_n(name: str) -> None:
    audit = made_audit(name)
    pair = deciding_pair(audit, audit_word(audit))
    text = card(audit).sentence
    assert text.startswith(f"{name} is {audit_word(audit).text}")
    assert fmt.threat(pair.norm, pair.epsilon) in text
    assert fmt.points(pair.drop_points).lstrip("+") in text
    assert f"{fmt.points(pair.interval95[0])} to {fmt.points(pair.interval95[1])}, n = {pair.n}" in text


def test_brittle_speaks_of_the_surest_drop_and_the_others_of_the_least_sure() -> None:
    for name, end in (("low-rank", 0), ("narrow", 1)):
        audit = made_audit(name)
        assert audit.comparison is not None
        largest = max(p.interval95[end] for p in audit.comparison.paired)
        assert deciding_pair(audit, audit_word(audit)).interval95[end] == largest


def test_next_steps_fit_the_verdict() -> None:
    assert "--samples 9876" in " ".join(card(made_audit("neuron-pruned")).next_steps)
    assert "conv2" in " ".join(card(made_audit("low-rank")).next_steps)
    assert "shipping" in " ".join(card(made_audit("narrow")).next_steps)
    assert "--against" in " ".join(card(made_audit("original")).next_steps)


@pytest.mark.parametrize(
    ("field", "share", "words"),
    [("clean_drop_points", 0.9, "clean inputs already"), ("noise_drop_points", 0.6, "fragile in general")],
)
def test_a_drop_that_is_no_attack_effect_is_said(field: str, share: float, words: str) -> None:
    audit = made_audit("low-rank")
    assert audit.comparison is not None
    pairs = tuple(replace(p, **{field: share * p.drop_points}) for p in audit.comparison.paired)
    assert words not in " ".join(card(audit).next_steps)
    changed = replace(audit, comparison=replace(audit.comparison, paired=pairs))
    assert words in " ".join(card(changed).next_steps)


def test_preflight_problems_come_up_in_the_next_steps() -> None:
    audit = replace(made_audit("narrow"), preflight=(Check("labels", "problem", "look"),))
    assert "1 preflight problem " in card(audit).next_steps[-1]


def test_comparison_without_verdict_and_audit_without_accuracy() -> None:
    assert "without a verdict" in card(replace(made_audit("low-rank"), verdict=None)).sentence
    assert "without a verdict" in summary(nets([replace(made_audit("low-rank"), verdict=None)]))
    assert "no accuracy was measured" in card(replace(made_audit("original"), robustness=())).sentence


@pytest.mark.parametrize("name", ["original", "low-rank"])
def test_the_card_adds_what_was_measured_besides(name: str) -> None:
    audit = made_audit(name)
    first, second = card(audit).findings
    assert "leading directions of the margin" in first
    assert second.startswith("One perturbation for all inputs")
    assert card(replace(audit, explained=(), universal=())).findings == ()

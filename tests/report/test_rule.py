"""The verdict rule, on intervals at and around the tolerance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from brittle.report.rule import audit_word, max_drop, pair_word
from tests.made_audits import made_audit


@pytest.mark.parametrize(
    ("interval", "word"),
    [((2.1, 9.0), "brittle"), ((2.0, 9.0), "undecided"), ((-1.0, 2.0), "undecided"), ((-1.0, 1.9), "not brittle")],
)
def test_pair_word(interval: tuple[float, float], word: str) -> None:
    comparison = made_audit("low-rank").comparison
    assert comparison is not None
    assert pair_word(replace(comparison.paired[0], interval95=interval), 2.0).text == word


def test_audit_word_is_the_recorded_verdict() -> None:
    words = [audit_word(made_audit(name)).text for name in ("original", "low-rank", "neuron-pruned", "narrow")]
    assert words == ["profile", "brittle", "undecided", "not brittle"]


def test_max_drop_comes_from_the_record() -> None:
    audit = made_audit("low-rank")
    assert audit.verdict is not None
    assert max_drop(replace(audit, verdict=replace(audit.verdict, max_drop_points=7.5))) == 7.5
    assert max_drop(made_audit("original")) == 2.0

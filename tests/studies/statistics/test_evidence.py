from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.errors import UsageError
from brittle.results.study import Effect
from brittle.studies.statistics.criterion import Criterion, Target
from brittle.studies.statistics.evidence import Evidence, gather, measure, rule, sentences, shows
from brittle.studies.statistics.over_seeds import mean_interval
from brittle.studies.statistics.signed import SignedP
from tests.studies.statistics.made import BOTH, RATIO, ROBUST, both, falling

RNG = np.random.default_rng(0)


def evidence(*effects, p=0.001, sign=1, room=True):
    """Evidence for BOTH: effects are (value, low, high) of robust accuracy and ratio, in points."""
    made = tuple(Effect("", e, (low, high), "points", 5) for e, low, high in effects)
    return Evidence(SignedP(p, 5.0 * sign), (), made, (room,) * len(made))


FALL, RISE, NIL, SLIGHT = (-10.0, -12.0, -8.0), (10.0, 8.0, 12.0), (0.3, -1.0, 1.6), (-1.5, -1.9, -1.1)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (evidence(FALL, FALL), "supported"),
        (evidence(FALL, FALL, p=0.051), "inconclusive"),
        (evidence(FALL, (-3.0, -6.5, 0.5)), "inconclusive"),  # the ratio's interval holds 0
        (evidence((-10.0, -21.0, 1.0), FALL), "inconclusive"),
        (evidence(FALL, FALL, sign=-1), "inconclusive"),  # ends fall, the line rises
        (evidence(FALL, NIL), "not supported"),  # robust accuracy falls only as clean accuracy does
        (evidence(FALL, NIL, room=False), "inconclusive"),
        (evidence(SLIGHT, SLIGHT), "not supported"),  # significant, but too small to matter
        (evidence(NIL, NIL, p=0.8), "not supported"),
        (evidence((0.3, -2.1, 2.7), NIL, p=0.8), "not supported"),
        (evidence((0.3, -2.1, 2.7), (0.3, -2.1, 2.7), p=0.8), "inconclusive"),
        (evidence(RISE, RISE, sign=-1), "contradicted"),
        (evidence(RISE, RISE, sign=-1, p=0.2), "inconclusive"),
        (evidence(RISE, FALL, p=1.0, sign=0), "inconclusive"),
    ],
)
def test_the_rule(found, outcome):
    assert rule(found, BOTH, found.test.p, 0.05) == outcome


@given(st.tuples(*[st.floats(-20, 20)] * 2), st.tuples(*[st.floats(0.01, 10)] * 2), st.floats(0, 0.2))
def test_the_rule_is_the_same_for_a_claim_turned_round(values, halves, p):
    effects = [(v, v - h, v + h) for v, h in zip(values, halves, strict=True)]
    mirrored = [(-v, -high, -low) for v, low, high in effects]
    turned = Criterion(tuple(replace(target, direction=1) for target in BOTH.targets))
    assert rule(evidence(*effects), BOTH, p, 0.05) == rule(evidence(*mirrored), turned, p, 0.05)


def test_gather_measures_the_mean_over_cells_and_the_interval_over_seeds():
    a, b = (both(falling(RNG, t), falling(RNG, t)) for t in (10, 20))
    found = gather(BOTH, [a, b], 0, 999)
    values = np.mean([t.outcome("ratio")[:, -1] - t.outcome("ratio")[:, 0] for t in (a, b)], axis=0)
    assert found.effects[1].value == pytest.approx(values.mean()) == pytest.approx(-15, abs=1)
    assert found.effects[1].interval95 == pytest.approx(mean_interval(values))
    assert found.effects == measure(BOTH, [a, b])
    assert found.test.sign == 1
    assert [test.sign for test in found.tests] == [-1, -1]
    assert found.test.p == max(test.p for test in found.tests)
    assert shows(found, BOTH, 1)
    assert not shows(found, BOTH, -1)
    assert [said.count("are lost") for said in sentences(BOTH, found.effects)] == [1, 1]


def test_an_outcome_at_its_limit_has_no_room():
    low = both(falling(RNG, 0, start=3.9, noise=0.01), falling(RNG, 0, noise=0.01))
    assert gather(BOTH, [low], 0, 9).room == (False, True)
    assert gather(BOTH, [low, both(falling(RNG, 0), falling(RNG, 0))], 0, 9).room == (False, True)
    rising = Criterion((Target("robust", "robust accuracy", 1, 2.0, limit=100.0),))
    assert gather(rising, [low], 0, 9).room == (True,)


def test_criteria_say_what_they_ask():
    words = BOTH.words(0.05)
    for said in (ROBUST.words(), RATIO.words(), "5 seeds and 5 levels", "p <= 0.05", "at least 50 %", "did not rise"):
        assert said in words
    assert ROBUST.words() == "robust accuracy falls by 2 points or more"
    assert "did not rise" not in replace(BOTH, premise=False).words()


def test_bad_criteria():
    with pytest.raises(UsageError, match="smallest effect above 0"):
        replace(ROBUST, smallest=0.0)
    with pytest.raises(UsageError, match=r"expected direction -1 or \+1"):
        replace(ROBUST, direction=0)
    for bad in ({"targets": ()}, {"least_seeds": 1}, {"least_levels": 0}, {"prevalence": 1.5}):
        with pytest.raises(UsageError, match="a criterion needs"):
            replace(BOTH, **bad)

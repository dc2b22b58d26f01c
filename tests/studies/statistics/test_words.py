from __future__ import annotations

from brittle.studies.statistics.words import change, count, p_words


def test_changes_in_words():
    lost = change("robust accuracy at l_inf 0.05", "points", -12.3, (-14.4, -10.1))
    assert lost == "12.3 points of robust accuracy at l_inf 0.05 are lost [10.1, 14.4]"
    assert change("clean accuracy", "points", 1.0, (-0.5, 2.5)) == "1.0 points of clean accuracy are gained [-0.5, 2.5]"
    assert change("alignment", "", -0.25, (-0.3, 0.1)) == "alignment falls by 0.25 [-0.1, 0.3]"
    assert change("amplification", "nats", 1.5, (1.0, 2.0)) == "amplification rises by 1.5 nats [1, 2]"


def test_p_values_and_counts():
    assert [p_words(p) for p in (0.0002, 0.0123, 0.512)] == ["p < 0.001", "p = 0.012", "p = 0.51"]
    assert (count(1, "seed"), count(5, "seed")) == ("1 seed", "5 seeds")

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.errors import UsageError
from brittle.studies.statistics.signed import SignedP, holm, intersection


def test_one_sided_values_split_the_two_sided_one():
    up = SignedP(0.04, 2.1)
    assert (up.sign, up.one_sided(1), up.one_sided(-1)) == (1, 0.02, 0.98)
    down = up.towards(-1)
    assert (down.sign, down.one_sided(1), down.one_sided(-1)) == (-1, 0.98, 0.02)
    assert SignedP(1.0, 0.0).one_sided(1) == 0.5


def test_the_weakest_part_decides_and_disagreement_is_no_evidence():
    weak = intersection([SignedP(0.001, 3.0), SignedP(0.03, 2.0)])
    assert weak.p == pytest.approx(0.03)
    assert weak.statistic == 2.0
    assert intersection([SignedP(0.001, -3.0), SignedP(0.03, -2.0)]).sign == -1
    against = intersection([SignedP(1e-9, 6.0), SignedP(1e-9, -6.0)])
    assert against.p == 1.0
    assert against.sign == 0
    assert intersection([SignedP(0.0, np.inf), SignedP(0.0, -np.inf)]) == SignedP(1.0, 0.0)
    with pytest.raises(UsageError, match="at least one test"):
        intersection([])


def test_holm_on_the_textbook_case():
    # 4 p values: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1 with the running maximum
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    with pytest.raises(UsageError, match="counts with p = 1"):
        holm([0.2, float("nan")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, alpha):
    rejected = [False] * len(p)
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - step) > alpha:
            break
        rejected[i] = True
    assert [value <= alpha for value in holm(p)] == rejected

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brittle.errors import UsageError
from brittle.studies.statistics.trend import blocked, jonckheere, linear_weights, midranks, page


def test_page_is_the_exact_test_of_scipy_on_both_sides():
    rng = np.random.default_rng(0)
    for n, k in [(3, 4), (5, 5), (2, 7), (4, 3)]:
        y = rng.normal(size=(n, k)) + 0.4 * np.arange(k)
        test = page(y, 0)
        rising, falling = (stats.page_trend_test(sign * y, method="exact").pvalue for sign in (1, -1))
        assert test.p == pytest.approx(min(1, 2 * min(rising, falling)))
        assert test.sign == np.sign(falling - rising)
        # Page's L is asymptotically normal with variance n k^2 (k + 1)^2 (k - 1) / 144
        middle = n * k * (k + 1) ** 2 / 4
        z = (stats.page_trend_test(y).statistic - middle) / (n * k**2 * (k + 1) ** 2 * (k - 1) / 144) ** 0.5
        assert test.statistic == pytest.approx(z)
        assert page(-y, 0).statistic == pytest.approx(-z)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=2, max_size=3))
def test_page_with_ties_counts_all_orders(rows):
    y = np.array(rows, dtype=float)
    ranks = stats.rankdata(y, axis=1)
    statistic = abs((ranks @ [-1, 0, 1]).sum())
    orders = [[np.dot(order, [-1, 0, 1]) for order in permutations(row)] for row in ranks]
    sums = np.array([sum(choice) for choice in product(*orders)])
    assert page(y, 0).p == pytest.approx((np.abs(sums) >= statistic - 1e-9).mean())


def test_beyond_seven_levels_orders_are_drawn():
    rng = np.random.default_rng(1)
    y = rng.normal(size=(3, 8)) + 0.08 * np.arange(8)
    exact = min(1, 2 * min(stats.page_trend_test(s * y, method="exact").pvalue for s in (1, -1)))
    assert 0.01 < exact < 0.5
    drawn = page(y, 0, resamples=9_999)
    assert drawn.p == pytest.approx(exact, abs=4 * (exact / 9_999) ** 0.5)
    assert page(y, 0, 99).p == round(page(y, 0, 99).p * 100) / 100 >= 0.01  # (1 + hits) / (1 + resamples)


def test_midranks_are_those_of_scipy():
    y = np.random.default_rng(0).integers(0, 4, (50, 7)).astype(float)
    np.testing.assert_array_equal(midranks(y), stats.rankdata(y, axis=1))


def test_no_variation_is_no_evidence():
    assert (page(np.ones((5, 5)), 0).p, page(np.ones((5, 5)), 0).statistic) == (1.0, 0.0)
    assert blocked([np.ones((5, 9))], [linear_weights(9)], 0, 99).p == 1.0


def test_blocks_of_several_groups_add_up():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(4, 5)) + 0.3 * np.arange(5)
    # Two groups of two seeds are the same blocks as one group of four.
    apart = blocked([y[:2], y[2:]], [linear_weights(5)] * 2, 0)
    assert apart.statistic == pytest.approx(page(y, 0).statistic)
    assert apart.p == pytest.approx(page(y, 0).p, abs=0.02)


def test_jonckheere_against_all_assignments():
    groups = [np.array([1.0, 3.0]), np.array([2.0, 3.0]), np.array([4.0, 6.0])]

    def count(values):
        parts = np.split(np.array(values), [2, 4])
        return sum(
            (a < b) + 0.5 * (a == b) for i in range(3) for j in range(i + 1, 3) for a in parts[i] for b in parts[j]
        )

    every = np.array([count(values) for values in permutations(np.concatenate(groups))])
    deviation = np.abs(every - every.mean())
    exact = (deviation >= abs(count(np.concatenate(groups)) - every.mean()) - 1e-9).mean()
    test = jonckheere(groups, seed=0)
    assert test.p == pytest.approx(exact, abs=0.01)
    assert test.statistic == pytest.approx((count(np.concatenate(groups)) - every.mean()) / every.std(), rel=0.03)
    assert jonckheere(groups[::-1], seed=0).sign == -1
    assert jonckheere([np.ones(3), np.ones(2)], seed=0, resamples=9).p == 1.0


def test_bad_input():
    with pytest.raises(UsageError, match="complete outcomes"):
        page(np.array([[1.0, np.nan]]), 0)
    with pytest.raises(UsageError, match="at least 2 levels"):
        page(np.ones((5, 1)), 0)
    with pytest.raises(UsageError, match="as many weights as groups"):
        blocked([np.ones((2, 3))], [], 0)
    with pytest.raises(UsageError, match="3 weights that sum to 0"):
        blocked([np.ones((2, 3))], [np.ones(3)], 0)
    with pytest.raises(UsageError, match="at least 2 groups"):
        jonckheere([np.ones(3)], 0)
    with pytest.raises(UsageError, match="none empty"):
        jonckheere([np.ones(3), np.ones(0)], 0)

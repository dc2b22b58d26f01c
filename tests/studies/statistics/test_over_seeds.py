from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from brittle.errors import UsageError
from brittle.studies.statistics.over_seeds import bootstrap_interval, mean_interval, seed_test


def test_student_agrees_with_scipy():
    values = np.array([1.2, -0.3, 2.2, 0.9, 1.4])
    reference = stats.ttest_1samp(values, 0)
    test = seed_test(values)
    assert (test.p, test.statistic) == (pytest.approx(reference.pvalue), pytest.approx(reference.statistic))
    interval = reference.confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx((interval.low, interval.high))


def test_seeds_that_are_all_alike():
    assert seed_test(np.zeros(5)).p == 1.0
    assert seed_test(np.zeros(5)).sign == 0
    alike = seed_test(np.full(5, -0.1))
    assert alike.p == 0.0
    assert alike.sign == -1


def test_bootstrap_draws_whole_seeds_from_all_arrays_together():
    def same_rows(a, b):
        assert a.shape == (100, 4, 3)
        assert b.shape == (100, 4)
        assert (a == b[:, :, None]).all()
        return a.mean((1, 2))

    rows = np.arange(4.0)
    low, high = bootstrap_interval((np.tile(rows[:, None], 3), rows), same_rows, seed=0, resamples=100)
    assert 0 <= low < 1.5 < high <= 3


def test_bootstrap_of_the_mean_has_the_bootstrap_variance():
    values = np.random.default_rng(0).normal(size=40)
    low, high = bootstrap_interval((values,), lambda v: v.mean(1), seed=1, resamples=20_000)
    half = stats.norm.ppf(0.975) * values.std() / 40**0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


def test_undefined_resamples_are_left_out():
    low, high = bootstrap_interval((np.arange(3.0),), lambda v: np.full(len(v), np.nan), seed=0, resamples=10)
    assert np.isnan(low)
    assert np.isnan(high)


def test_bad_input():
    with pytest.raises(UsageError, match="one number per seed for at least 2 seeds"):
        seed_test(np.array([1.0]))
    with pytest.raises(UsageError, match="one number per seed"):
        mean_interval(np.ones((2, 2)))
    with pytest.raises(UsageError, match="confidence level"):
        mean_interval(np.ones(3), 95)
    with pytest.raises(UsageError, match="same number of seeds"):
        bootstrap_interval((np.ones(3), np.ones(4)), lambda a, b: a.mean(1), seed=0)

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from brittle.errors import UsageError
from brittle.studies.statistics.correlation import pearson, spearman, spearman_within

RNG = np.random.default_rng(0)
X = RNG.integers(0, 6, (5, 6)).astype(float)  # with ties
Y = X + RNG.normal(size=X.shape)


def test_values_agree_with_scipy():
    assert pearson(X, Y, 0, 10).value == pytest.approx(stats.pearsonr(X.ravel(), Y.ravel()).statistic)
    assert spearman(X, Y, 0, 10).value == pytest.approx(stats.spearmanr(X.ravel(), Y.ravel()).statistic)
    within = [stats.spearmanr(x, y).statistic for x, y in zip(X, Y, strict=True)]
    np.testing.assert_allclose(spearman_within(X, Y), within)


@pytest.mark.parametrize("coefficient", [pearson, spearman])
def test_the_interval_is_over_seeds_not_networks(coefficient):
    # Levels of a seed are copies: 5 seeds are 5 pieces of information, however many levels there are.
    few, many = (np.repeat(RNG.normal(size=(2, 5, 1)), k, axis=2) for k in (2, 40))
    many[:, :, :] = few[:, :, :1]
    assert coefficient(*few, seed=0).interval95 == pytest.approx(coefficient(*many, seed=0).interval95)
    low, high = coefficient(X, Y, seed=0).interval95
    assert -1 <= low < coefficient(X, Y, seed=0).value < high <= 1


def test_a_constant_side_says_nothing():
    for coefficient in (pearson, spearman):
        nothing = coefficient(np.ones((5, 6)), Y, 0)
        assert (nothing.value, nothing.interval95) == (0.0, (-1.0, 1.0))
    assert (spearman_within(np.ones((5, 6)), Y) == 0).all()


def test_bad_input():
    with pytest.raises(UsageError, match="two tables of one shape"):
        pearson(X, Y[:, :3], 0)
    with pytest.raises(UsageError, match="at least 2 of each"):
        spearman(X[:1], Y[:1], 0)

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from brittle.errors import UsageError
from brittle.studies.statistics.designs import Associations, Pairs, Trends, signed_rank
from brittle.studies.statistics.over_seeds import seed_test
from brittle.studies.statistics.trend import blocked, linear_weights, page
from tests.studies.statistics.made import falling, table

RNG = np.random.default_rng(0)


def test_one_cell_needs_page_and_the_seeds():
    y = falling(RNG, 2, noise=1.5)
    t = seed_test(y @ linear_weights(6))
    assert Trends().test([table({"y": y})], "y", 0, 99).p == pytest.approx(max(page(y, 0).p, t.p))
    assert Trends().test([table({"y": y})], "y", 0, 99).sign == -1
    np.testing.assert_array_equal(Trends().effects(table({"y": y}), "y"), y[:, -1] - y[:, 0])
    assert Trends().reference(table({"y": y}), "y") == pytest.approx(y[:, 0].mean())


def test_a_shared_dense_network_is_ranked_once_with_the_weight_of_its_cells():
    a, b = falling(RNG, 1, noise=1.0), falling(RNG, 1, noise=1.0, levels=5)
    b[:, 0] = a[:, 0]
    cells = [table({"y": a}, pool="p"), table({"y": b}, name="rows", pool="p")]
    six, five = linear_weights(6), linear_weights(5)
    weights = np.array([six[0] + five[0], *six[1:], *five[1:]])
    rank = blocked([np.hstack([a, b[:, 1:]])], [weights], 3, 99)
    t = seed_test(a @ six + b @ five)
    test = Trends().test(cells, "y", 3, 99)
    assert test.p == pytest.approx(max(rank.p, t.p))
    assert abs(test.statistic) == pytest.approx(min(abs(rank.statistic), abs(t.statistic)))


def test_cells_of_other_networks_are_blocks_of_their_own():
    a, b = falling(RNG, 1, noise=1.0), falling(RNG, 1, noise=1.0)
    cells = [table({"y": a}), table({"y": b}, name="rows")]
    rank = blocked([a, b], [linear_weights(6)] * 2, 3, 999)
    t = seed_test((a + b) @ linear_weights(6))
    assert Trends().test(cells, "y", 3, 999).p == pytest.approx(max(rank.p, t.p))


def test_cells_that_do_not_fit_together_are_refused():
    y = falling(RNG, 1)
    with pytest.raises(UsageError, match="share their networks of level 0"):
        Trends().test([table({"y": y}, pool="p"), table({"y": y + 1}, pool="p")], "y", 0, 9)
    short = table({"y": y}).rows((0, 1, 2, 3))
    for design in (Trends(), Pairs()):
        with pytest.raises(UsageError, match="cells with the same seeds"):
            design.test([table({"y": y}), short], "y", 0, 9)
        with pytest.raises(UsageError, match="cells with the same seeds"):
            design.test([], "y", 0, 9)


def test_associations_measure_rho_within_seeds():
    x = RNG.normal(size=(5, 6)) + 10 * np.arange(5)[:, None]  # between seeds the relation is the other way round
    cell = table({"y": -x + 30 * np.arange(5)[:, None]}, x=x)
    np.testing.assert_allclose(Associations().effects(cell, "y"), -1)
    assert Associations().reference(cell, "y") is None
    assert "within a seed is -1.00 [-1.00, -0.90]" in Associations().sentence("gap", "rho", -1.0, (-1.1, -0.9))


def test_pairs_need_signs_and_seeds():
    d = RNG.normal(0.7, 1, (5, 4))
    cell = table({"y": d})
    np.testing.assert_allclose(Pairs().effects(cell, "y"), d.mean(1))
    assert Pairs().reference(cell, "y") is None
    expected = max(signed_rank(d.ravel(), 0, 999).p, seed_test(d.mean(1)).p)
    assert Pairs().test([cell], "y", 0, 999).p == pytest.approx(expected)
    # Levels of a seed are copies of one number: 20 pairs look certain, 5 seeds are not.
    copies = np.repeat(np.array([3.0, 1.0, 0.5, 2.0, -0.4])[:, None], 4, axis=1)
    assert signed_rank(copies.ravel(), 0).p < 0.01 < 0.05 < Pairs().test([table({"y": copies})], "y", 0, 9_999).p
    assert (
        Pairs().sentence("clean accuracy", "points", 2.0, (1.0, 3.0)).startswith("on average over settings 2.0 points")
    )


def test_signed_rank_against_all_signs():
    d = np.array([0.5, -0.3, 1.2, 0.8, -0.1, 2.0, 0.8, 0.0])
    ranks = stats.rankdata(np.abs(d[d != 0]))
    observed = (ranks * np.sign(d[d != 0])).sum()
    every = np.array([np.dot(signs, ranks) for signs in product([-1, 1], repeat=7)])
    exact = (np.abs(every) >= abs(observed) - 1e-9).mean()
    test = signed_rank(d, 0)
    assert test.p == pytest.approx(exact, abs=0.015)
    assert test.statistic == pytest.approx(observed / every.std())
    assert signed_rank(np.zeros(4), 0).p == 1.0
    with pytest.raises(UsageError, match="at least one difference"):
        signed_rank(np.array([]), 0)

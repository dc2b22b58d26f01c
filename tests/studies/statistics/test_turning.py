from __future__ import annotations

import numpy as np
import pytest

from brittle.errors import UsageError
from brittle.studies.statistics.turning import turning_point


def test_a_clear_peak_is_found():
    y = np.array([50.0, 53.0, 58.0, 40.0]) + np.arange(5.0)[:, None]
    turn = turning_point(y, seed=0)
    assert turn.level == 2
    np.testing.assert_array_equal(turn.shares, [0, 0, 1, 0])
    np.testing.assert_array_equal(turn.gains, 8.0)


def test_the_level_is_chosen_by_the_other_seeds():
    # Seed 0 alone makes level 1 the best on average: without it level 0 is.
    y = np.array([[0.0, 90.0], [1.0, 0.0], [1.0, 0.0]])
    turn = turning_point(y, seed=0)
    assert turn.level == 1
    np.testing.assert_array_equal(turn.gains, [0.0, -1.0, -1.0])
    assert turn.shares.sum() == pytest.approx(1)
    assert turn.shares[0] == pytest.approx((2 / 3) ** 3, abs=0.05)


def test_noise_makes_no_gain():
    rng = np.random.default_rng(0)
    gains = [turning_point(rng.normal(size=(5, 6)), 0, 2).gains.mean() for _ in range(1000)]
    assert abs(np.mean(gains)) < 4 * np.std(gains) / 1000**0.5
    best = [rng.normal(size=(5, 6)).mean(0) for _ in range(1000)]
    assert np.mean([b.max() - b[0] for b in best]) > 0.4  # what the choice on the same seeds would have claimed


def test_bad_input():
    with pytest.raises(UsageError, match="complete outcomes"):
        turning_point(np.ones((1, 4)), 0)

"""A strength that is better than none: found where it is, and not made out of noise."""

from __future__ import annotations

import numpy as np
import pytest

from brittle.errors import UsageError
from brittle.studies.statistics.peak import Peaks, gains_at_best
from brittle.studies.statistics.turning import turning_point
from tests.studies.statistics.made import table


def hill(rng, gain, noise=0.5, seeds=5):
    """Best at the third of six levels by `gain`."""
    return 60 + gain * np.array([0, 0.7, 1, 0.5, -1, -4]) + rng.normal(0, noise, (seeds, 6))


def test_gains_are_those_of_the_turning_point():
    y = hill(np.random.default_rng(0), 3)
    np.testing.assert_allclose(gains_at_best(y[None], y[None])[0], turning_point(y, 0).gains)


def test_each_seed_is_scored_at_the_level_the_others_choose():
    guide = np.array([[0.0, 9.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, 5.0]])
    y = np.array([[1.0, 2.0, 4.0], [1.0, 8.0, 0.0], [1.0, 8.0, 0.0]])
    made = table({"y": y, "guide": guide})
    # The others of seed 0 choose level 2; those of seeds 1 and 2 level 1.
    np.testing.assert_array_equal(Peaks("guide").effects(made, "y"), [3.0, 7.0, 7.0])


def test_a_gain_is_found_and_its_bound_falls():
    rng = np.random.default_rng(1)
    y = hill(rng, 4)
    made = table({"robust": y, "bound": -y})
    rises, falls = (Peaks("robust").test([made], name, 0, 0) for name in ("robust", "bound"))
    assert rises.p < 0.01
    assert rises.sign == 1
    assert falls.p < 0.01
    assert falls.sign == -1


def test_noise_is_no_gain_more_often_than_it_may():
    rng = np.random.default_rng(2)
    peaks = Peaks("y")
    for cells in (1, 3):
        noise = rng.normal(60, 2, (1500, cells, 5, 6))
        p = [peaks.test([table({"y": y}) for y in ys], "y", 0, 0).one_sided(1) for ys in noise]
        assert np.mean(np.array(p) <= 0.025) <= 0.037  # three standard errors above the level
        assert np.mean(np.array(p) <= 0.1 / 3) > 0.01  # and not far below it


def test_cells_share_their_seeds():
    y = hill(np.random.default_rng(3), 1)
    with pytest.raises(UsageError, match="expected cells with the same seeds"):
        Peaks("y").test([table({"y": y}), table({"y": y[:4]})], "y", 0, 0)
    with pytest.raises(UsageError, match="expected cells with the same seeds"):
        Peaks("y").test([], "y", 0, 0)


def test_it_says_what_it_found():
    said = Peaks("y").sentence("robust accuracy", "points", 1.25, (0.5, 2.0))
    assert said == "at the best strength 1.2 points of robust accuracy are gained [0.5, 2.0]"
    assert Peaks("y").reference(table({"y": np.arange(12.0).reshape(3, 4)}), "y") == 4.0

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from brittle.errors import UsageError
from brittle.studies.statistics.table import ratio_in_points
from tests.studies.statistics.made import table

Y = np.arange(12.0).reshape(3, 4)


def test_a_table_refuses_what_is_no_table():
    with pytest.raises(UsageError, match=r"shape \(seeds, levels\) = \(3, 4\), got shape \(4, 3\)"):
        table({"y": Y, "z": Y.T})
    with pytest.raises(UsageError, match="finite numbers"):
        table({"y": np.where(Y == 5, np.inf, Y)})
    with pytest.raises(UsageError, match="seeds that differ"):
        replace(table({"y": Y}), seeds=(1, 1, 2))
    with pytest.raises(UsageError, match="at least 2 levels"):
        table({"y": Y[:, :1]})
    with pytest.raises(UsageError, match="at least one outcome"):
        replace(table({"y": Y}), outcomes={})
    with pytest.raises(UsageError, match=r"no outcome 'robust': choose one of \['y'\]"):
        table({"y": Y}).outcome("robust")


def test_complete_drops_seeds_with_a_hole_in_any_outcome_or_the_predictor():
    hole = np.where(Y == 5, np.nan, Y)
    whole = table({"y": Y, "z": hole}).complete()
    assert whole.seeds == (0, 2)
    np.testing.assert_array_equal(whole.outcome("y"), Y[[0, 2]])
    assert table({"y": Y}, x=np.where(Y == 11, np.nan, Y)).complete().seeds == (0, 1)


def test_rows_and_levels_are_taken_with_their_names():
    rows = table({"y": Y}).rows((2, 0))
    assert rows.seeds == (2, 0)
    np.testing.assert_array_equal(rows.outcome("y"), Y[[2, 0]])
    assert rows.x[0, 0] == pytest.approx(1.02)
    part = table({"y": Y}, pool="dense").take((0, 2))
    assert part.levels == ("s0", "s2")
    assert part.pool == "dense"
    np.testing.assert_array_equal(part.outcome("y"), Y[:, [0, 2]])
    assert table({"y": Y}, pool="dense").take((1, 2)).pool == ""  # level 0 is no longer the shared one


def test_levels_are_ordered_by_the_mean_predictor():
    x = np.array([[3.0, 1.0, 2.0, 4.0], [3.0, 1.0, 2.5, 2.6], [3.0, 1.0, 2.0, 2.0]])
    ordered = table({"y": Y}, x=x).by_predictor()
    assert ordered.levels == ("s1", "s2", "s3", "s0")
    np.testing.assert_array_equal(ordered.outcome("y"), Y[:, [1, 2, 3, 0]])
    x[0] = [np.nan, 9.0, 2.0, 4.0]  # an incomplete seed has no say
    x[1:, 3] = 1.5
    assert table({"y": Y}, x=x).by_predictor().levels == ("s1", "s3", "s2", "s0")
    nothing = table({"y": Y}, x=np.full((3, 4), np.nan))
    assert nothing.by_predictor() is nothing


def test_keys_of_trials_go_with_their_numbers() -> None:
    keys = tuple(tuple((f"{seed}-{level}",) for level in range(4)) for seed in range(3))
    made = table({"y": Y}, trials=keys)
    assert made.rows((2, 0)).take((3, 1)).trials == ((("2-3",), ("2-1",)), (("0-3",), ("0-1",)))
    with pytest.raises(UsageError, match=r"expected trials' keys of shape \(seeds, levels\) = \(3, 4\) or none"):
        table({"y": Y}, trials=keys[:2])


def test_the_ratio_is_in_points_and_undefined_without_clean_accuracy():
    ratio = ratio_in_points(np.array([[0.4, 0.0]]), np.array([[0.8, 0.0]]))
    assert ratio[0, 0] == pytest.approx(50.0)
    assert np.isnan(ratio[0, 1])

"""Predicted drops: what a line through other trials says, and what is said without any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.compression.planning.predict import predicted_drop


@given(summed=st.floats(0, 1))
def test_without_other_trials_the_parts_are_added_up(summed: float) -> None:
    assert predicted_drop(summed, []) == pytest.approx(summed, abs=1e-12)


@given(summed=st.floats(0.05, 0.5), offset=st.floats(-0.1, 0.1), slope=st.floats(0.3, 3))
def test_many_trials_on_a_line_are_followed(summed: float, offset: float, slope: float) -> None:
    others = [(summed + 0.01 * i, offset + slope * (summed + 0.01 * i)) for i in range(-20, 21)]
    assert predicted_drop(summed, others) == pytest.approx(offset + slope * summed, abs=0.03 * (1 + slope))


def test_near_trials_count_more_than_far_ones() -> None:
    near, far = (0.10, 0.20), (0.60, 0.60)
    assert abs(predicted_drop(0.1, [near] * 5 + [far] * 5) - 0.20) < 0.03
    assert abs(predicted_drop(0.6, [near] * 5 + [far] * 5) - 0.60) < 0.03

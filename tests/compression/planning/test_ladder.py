"""Values between rungs: a straight line over the logarithm of the size."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brittle.compression.planning.ladder import interpolated

SIZES, VALUES = (64, 20, 5, 1), (0.0, 0.1, 0.7, 2.0)


@given(size=st.floats(0.5, 100))
def test_it_is_numpys_interpolation_over_the_logarithm(size: float) -> None:
    expected = np.interp(log(size), [log(s) for s in SIZES[::-1]], VALUES[::-1])
    assert interpolated(SIZES, VALUES, size) == pytest.approx(expected, abs=1e-12)


def test_at_a_rung_it_is_the_rungs_value_exactly() -> None:
    assert [interpolated(SIZES, VALUES, size) for size in SIZES] == list(VALUES)

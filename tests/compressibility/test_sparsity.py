"""The PQ index: closed forms and its two ends."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.compressibility.sparsity import pq_index
from brittle.errors import UsageError
from tests.cases import normal


def test_closed_forms() -> None:
    assert pq_index(torch.tensor([3.0, -3.0, 3.0])) == pytest.approx(0.0, abs=1e-12)
    assert pq_index(torch.tensor([0.0, 5.0, 0.0, 0.0])) == pytest.approx(0.5)  # 1 - 4^(1/2 - 1)
    assert pq_index(torch.tensor([3.0, 4.0])) == pytest.approx(1 - 2**-0.5 * 7 / 5)
    assert pq_index(torch.tensor([3.0, 4.0]), 0.5, 1.0) == pytest.approx(1 - 0.5 * (3**0.5 + 4**0.5) ** 2 / 7)


def test_zero_vector_has_index_zero() -> None:
    assert pq_index(torch.zeros(5)) == 0.0


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e-300, 1.0, 1e300]))
def test_lies_in_the_unit_interval_and_ignores_scale_and_order(seed: int, scale: float) -> None:
    t = normal(17, seed=seed)
    assert 0 <= pq_index(t) < 1
    assert pq_index(t * scale) == pytest.approx(pq_index(t.flip(0)), rel=1e-9)


def test_grows_as_small_entries_are_pruned() -> None:
    t = normal(50, seed=0)
    pruned = torch.where(t.abs() > 1, t, 0.0)
    assert pq_index(pruned) > pq_index(t)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="exponents 0 < p < q, got p = 2, q = 1"):
        pq_index(torch.ones(3), 2, 1)
    for bad in (torch.zeros(0), torch.tensor([float("nan")])):
        with pytest.raises(UsageError, match="the PQ index needs a vector of finite numbers"):
            pq_index(bad)

"""Linear bounds of activations and poolings: above and below on fine grids and random points, and touching."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brittle.bounds.crown_lines import lines
from brittle.bounds.crown_pool import pool_lines
from brittle.operators.graph import MaxPool
from tests.bounds.small_graphs import ACTIVATIONS, activation


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(ACTIVATIONS)), seed=st.integers(0, 10**6), scale=st.sampled_from([0.01, 1.0, 8.0]))
def test_lines_enclose_the_function(kind: str, seed: int, scale: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    ends = scale * torch.randn(2, 1, 30, dtype=torch.float64, generator=rng)
    low, high = ends.amin(0), ends.amax(0)
    op = activation(kind)
    found = lines(op, low, high)
    below = torch.zeros_like(low) if found.lower_offset is None else found.lower_offset
    for t in torch.linspace(0, 1, 101, dtype=torch.float64):
        v = low + t * (high - low)
        value = op.function(v)
        tolerance = 4e-16 * (1 + v.abs())  # of evaluating the lines here
        assert bool((found.lower_slope * v + below <= value + tolerance).all())
        assert bool((found.upper_slope * v + found.upper_offset >= value - tolerance).all())


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_lines_of_s_shaped_functions_touch_them(kind: str) -> None:
    op = activation(kind)
    low = torch.tensor([[-3.0, -0.5, 0.2, -2.0, -4.0]], dtype=torch.float64)
    high = torch.tensor([[1.0, 4.0, 2.0, -0.1, 4.0]], dtype=torch.float64)
    found = lines(op, low, high)
    v = low + torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None] * (high - low)
    assert found.lower_offset is not None
    gap = torch.stack(
        [
            found.upper_slope * v + found.upper_offset - op.function(v),
            op.function(v) - found.lower_slope * v - found.lower_offset,
        ]
    )
    assert float(gap.amin(1).max()) < 1e-6


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    ceil=st.booleans(),
    width=st.sampled_from([0.0, 0.1, 2.0]),
)
def test_pooling_is_enclosed(seed: int, kernel: int, stride: int, dilation: int, ceil: bool, width: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    op = MaxPool((kernel, 2), (stride, 1), (kernel // 2, 1), (dilation, 1), ceil)
    low = torch.randn(2, 2, 6, 5, dtype=torch.float64, generator=rng)
    high = low + width * torch.rand(low.shape, dtype=torch.float64, generator=rng)
    found = pool_lines(op, (2, 6, 5), low, high)
    out = op.apply(low).shape
    owner = torch.tensor([0, 1, 1])
    rows = torch.randn(3, *out[1:], dtype=torch.float64, generator=rng)
    back, constant = found.pull(rows, owner)
    for _ in range(20):
        v = low + torch.rand(low.shape, dtype=torch.float64, generator=rng) * (high - low)
        truth = (rows * op.apply(v)[owner]).flatten(1).sum(1)
        bound = (back * v[owner]).flatten(1).sum(1) + constant
        assert bool((bound <= truth + 1e-12).all())
        if width == 0.0:
            torch.testing.assert_close(bound, truth)

"""The stacked optimisers against torch's, member by member, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from brittle.training.ensemble import optimisers
from brittle.training.ensemble.optimisers import STACKED, clip
from brittle.training.optimisers import optimiser_named

RATES, DECAYS, MOMENTA = (0.1, 0.003, 0.03, 0.2, 0.0), (0.0, 0.1, 0.01, 0.3, 0.2), (0.9, 0.0, 0.5, 0.99, 0.1)
STEPS = 6


def column(numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def torchs(name: str, start: Tensor, gradients: Callable[[int], Tensor]) -> Tensor:
    """Each row of `start` moved by torch's own optimiser; the rate falls by half at each step."""
    ends = []
    for m, row in enumerate(start):
        net = nn.Module()
        net.w = nn.Parameter(row.clone())
        (optimiser,) = optimiser_named(name)(net, RATES[m], DECAYS[m], MOMENTA[m])
        for t in range(STEPS):
            optimiser.param_groups[0]["lr"] = RATES[m] / 2**t
            net.w.grad = gradients(t)[m].clone()
            optimiser.step()
        ends.append(net.w.detach())
    return torch.stack(ends)


@pytest.mark.parametrize("block", [1, 14, 2**16], ids=["a row", "two rows", "all rows"])
@pytest.mark.parametrize("name", list(STACKED))
def test_each_member_moves_as_torch_moves_it(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimisers, "_BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    weights, *gradients = torch.randn(1 + STEPS, 5, 7, generator=generator, dtype=torch.float64)
    expected = torchs(name, weights, gradients.__getitem__)
    start = weights.clone()
    optimiser = STACKED[name](weights, column(DECAYS), column(MOMENTA))
    for t in range(STEPS):
        optimiser.step(gradients[t].clone(), column(RATES) / 2**t)
    torch.testing.assert_close(weights, expected, rtol=1e-11, atol=1e-12)
    assert torch.equal(weights[4], start[4]), "its rate is zero"
    assert (weights[:4] != start[:4]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 50.0), min_size=1, max_size=4), st.integers(0, 99))
def test_the_clip_is_torchs(largest: list[float], seed: int) -> None:
    limits = [*largest, float("inf")]
    gradient = 5 * torch.randn(len(limits), 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = []
    for row, limit in zip(gradient, limits, strict=True):
        p = nn.Parameter(torch.zeros(9, dtype=torch.float64))
        p.grad = row.clone()
        torch.nn.utils.clip_grad_norm_([p], limit)
        expected.append(p.grad)
    whole = gradient.clone()
    clip(whole, torch.tensor(limits, dtype=torch.float64))
    torch.testing.assert_close(whole, torch.stack(expected), rtol=1e-12, atol=0.0)
    assert torch.equal(whole[-1], gradient[-1])

"""Bounded condition numbers: the bound, the norm, the singular vectors, and as little movement as possible."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brittle.compression.conditioned import clipped_spectrum, condition_factors, condition_numbers
from brittle.compression.factorise import factorise
from brittle.compression.pairs import factors, kernel, write_factors
from brittle.errors import ModelError, UsageError
from brittle.models.layers import LowRankConv2d, LowRankConv2dIn, LowRankLinear
from brittle.models.recipe import Recipe, build
from tests.compression.low_rank_cases import normal


def steep(kind: str, seed: int = 0) -> nn.Module:
    """A pair whose singular values fall from 1 to 0.01."""
    pair = {
        "linear": LowRankLinear(9, 7, 4),
        "filters": LowRankConv2d(3, 7, 3, 4),
        "channels": LowRankConv2dIn(7, 3, 3, 4),
    }[kind].double()
    left, right = factors(pair)
    u, v = torch.linalg.qr(normal(*left.shape, seed=seed))[0], torch.linalg.qr(normal(*right.T.shape, seed=seed + 1))[0]
    write_factors(pair, u * torch.logspace(0, -2, 4, dtype=torch.float64), v.T)
    return pair


@pytest.mark.parametrize("kind", ["linear", "filters", "channels"])
@pytest.mark.parametrize("tau", [1.0, 3.0, 20.0])
def test_the_bound_holds_at_the_same_norm_and_the_same_singular_vectors(kind: str, tau: float) -> None:
    model = nn.Sequential(steep(kind), nn.ReLU())
    before = torch.matmul(*factors(model[0]))
    bias = model[0].second.bias.clone()
    condition_factors(model, tau)
    left, right = factors(model[0])
    after = left @ right
    values = torch.linalg.svdvals(after)[:4]
    assert float(values[0] / values[-1]) == pytest.approx(tau)
    assert condition_numbers(model) == {"0": pytest.approx(tau)}
    assert float(after.norm()) == pytest.approx(float(before.norm()))
    u, _, vt = torch.linalg.svd(before)
    inner = u.T @ after @ vt.T  # diagonal: only singular values changed
    assert torch.allclose(inner[:4, :4], torch.diag(values), atol=1e-9)
    for factor in (left, right):  # shared equally
        assert torch.allclose(torch.linalg.svdvals(factor), values.sqrt())
    assert torch.equal(model[0].second.bias, bias)


def test_within_the_bound_nothing_is_touched() -> None:
    model = nn.Sequential(steep("linear"), nn.Linear(7, 2).double())
    before = copy.deepcopy(model.state_dict())
    condition_factors(model, 100.1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    condition_factors(model, 5.0)
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == ["0.first.weight", "0.second.weight"], "dense layers and biases stay"


def test_single_precision_settles_at_once() -> None:
    model = nn.Sequential(steep("filters").float())
    condition_factors(model, 2.0)
    assert condition_numbers(model)["0"] <= 2 * (1 + 1e-5)
    before = copy.deepcopy(model.state_dict())
    condition_factors(model, 2.0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_of_all_balanced_factors_the_nearest_are_written() -> None:
    pair = steep("linear")
    # A pair as training leaves it: balanced up to a rotation between its factors
    left, right = factors(pair)
    u, s, vt = torch.linalg.svd(left @ right, full_matrices=False)
    turn = torch.linalg.qr(normal(4, 4, seed=9))[0]
    write_factors(pair, (u[:, :4] * s[:4].sqrt()) @ turn, turn.T @ (s[:4].sqrt()[:, None] * vt[:4]))
    old = factors(pair)
    condition_factors(nn.Sequential(pair), 50.0)
    new = factors(pair)

    def moved(rotation: torch.Tensor) -> float:
        return float((new[0] @ rotation - old[0]).square().sum() + (rotation.T @ new[1] - old[1]).square().sum())

    least = moved(torch.eye(4, dtype=torch.float64))
    assert least < 0.1 * float(old[0].square().sum())
    for seed in range(50):
        skew = 0.3 * normal(4, 4, seed=seed)
        assert moved(torch.matrix_exp(skew - skew.T)) > least


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=8).filter(lambda v: max(v) > 1e-3), st.floats(1, 50))
def test_the_clipped_spectrum_is_a_clip_with_the_same_norm(values: list[float], tau: float) -> None:
    s = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    clipped = clipped_spectrum(s, tau)
    assert float(clipped.norm()) == pytest.approx(float(s.norm()), rel=1e-9)
    assert float(clipped.max()) <= tau * float(clipped.min()) * (1 + 1e-9)
    if float(s.max()) <= tau * float(s.min()):
        assert torch.equal(clipped, s)
    else:
        # The same by bisection on the band's place
        low, high = 0.0, float(s.max())
        for _ in range(200):
            m = (low + high) / 2
            low, high = (
                (m, high) if np.clip(s.numpy(), m, tau * m).dot(np.clip(s.numpy(), m, tau * m)) < s.dot(s) else (low, m)
            )
        np.testing.assert_allclose(clipped, np.clip(s.numpy(), low, tau * low), rtol=1e-6, atol=1e-9)


def test_lost_and_absent_directions() -> None:
    pair = steep("linear")
    left, right = factors(pair)
    left[:, 1] = left[:, 0]
    right[1] = 0
    write_factors(pair, left, right)
    assert condition_numbers(nn.Sequential(pair))["0"] > 1e12
    condition_factors(nn.Sequential(pair), 4.0)
    assert condition_numbers(nn.Sequential(pair))["0"] == pytest.approx(4.0)
    zero = LowRankLinear(3, 3, 2)
    for parameter in zero.parameters():
        nn.init.zeros_(parameter)
    condition_factors(nn.Sequential(zero), 2.0)
    assert not kernel(zero).any()
    assert condition_numbers(nn.Sequential(zero)) == {"0": 1.0}


def test_training_goes_on_through_the_same_parameters() -> None:
    model = factorise(build(Recipe("mlp", (1, 4, 4), 5, {"width": 12}), seed=0), {"fc1": 3, "fc2": 3})
    parameters = list(model.parameters())
    optimiser = torch.optim.SGD(parameters, lr=0.5)
    x, y = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 5
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        condition_factors(model, 1.5)
        assert max(condition_numbers(model).values()) <= 1.5 * (1 + 1e-5)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(p.requires_grad for p in parameters)


def test_refusals_come_before_any_change() -> None:
    model = nn.Sequential(steep("linear"), steep("channels"))
    for tau in (0.99, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="a condition number is bounded by a finite tau >= 1, got"):
            condition_factors(model, tau)
    before = copy.deepcopy(model[0].state_dict())
    with torch.no_grad():
        model[1].first.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"weight '1\.first\.weight' holds NaN or infinity"):
        condition_factors(model, 2.0)
    assert all(torch.equal(value, before[key]) for key, value in model[0].state_dict().items())

"""The greedy choice of units: against least squares over every candidate at every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from brittle.compression.couplings.find import couplings
from brittle.compression.planning.explained import explained, greedy_order, order_score
from brittle.compression.protocols import Evidence
from brittle.models.recipe import Recipe, build
from tests.compression.planned_nets import cnn, cnn_couplings, evidence


def naive_order(units: np.ndarray, weights: np.ndarray) -> list[int]:
    """At each step the unit with which the readers' answers are fitted best by least squares."""
    wanted, chosen = units @ weights.T, []
    for _ in range(units.shape[1]):
        errors = {}
        for j in set(range(units.shape[1])) - set(chosen):
            some = units[:, [*chosen, j]]
            errors[j] = np.square(some @ np.linalg.lstsq(some, wanted, rcond=None)[0] - wanted).sum()
        chosen.append(min(errors, key=lambda j: errors[j]))
    return chosen


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_it_is_greedy_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = rng.standard_normal((60, 6)) @ rng.standard_normal((6, 6))
    weights = rng.standard_normal((4, 6))
    covariance = torch.from_numpy(units.T @ units / 60)
    order = greedy_order(covariance, torch.from_numpy(weights.T @ weights), 0.0)
    # The last ones explain what is left of 4 readers by 6 units: nothing, so their order is open.
    assert order[:3] == naive_order(units, weights)[:3]
    assert sorted(order) == list(range(6))


def test_the_score_puts_the_order_in_numbers() -> None:
    assert order_score([2, 0, 1]).tolist() == [2.0, 1.0, 3.0]


def scored(model: nn.Module, x: Tensor, ridge: float = 1e-6) -> dict[str, Tensor]:
    return dict(
        explained(model, couplings(model, x[:2]), Evidence(x, torch.zeros(len(x)).long(), None, 0), ridge=ridge)
    )


def test_of_two_neurons_that_say_the_same_one_comes_last() -> None:
    model = build(Recipe("mlp", (1, 3, 3), 4, {"widths": [6]}), seed=1)
    with torch.no_grad():
        model.fc1.weight[4] = 3 * model.fc1.weight[1]
        model.fc1.bias[4] = 3 * model.fc1.bias[1]
        model.head.weight[:, 4] += 2.0  # both matter much to the head
        model.head.weight[:, 1] += 5.0
    x = torch.rand(200, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    score = scored(model, x)["fc1"]
    assert {int(score.argmin())} <= {1, 4}
    assert max(score[1], score[4]) > 3


def test_a_channel_that_nobody_reads_comes_last() -> None:
    model = cnn()
    with torch.no_grad():
        model.conv2.weight[:, 5] = 0
        model.fc1.weight.view(40, 16, -1)[:, 3] = 0
    found = explained(model, cnn_couplings(), evidence(60))
    assert int(found["conv1"].argmin()) == 5
    assert int(found["conv2"].argmin()) == 3
    assert {name: len(score) for name, score in found.items()} == {"conv1": 12, "conv2": 16, "fc1": 40}
    assert all(score.dtype == torch.float64 and float(score.min()) > 0 for score in found.values())


def test_a_head_that_nobody_reads_comes_last() -> None:
    model = build(Recipe("vit", (1, 8, 8), 4, {"dim": 16, "depth": 1, "heads": 4}), seed=0)
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.block1.attention.proj.weight.view(16, 4, 4)[:, 2] = 0  # nobody reads the third head
    score = scored(model, x)["block1.attention"]
    assert int(score.argmin()) == 2


def test_the_model_stays_as_it_was() -> None:
    model = cnn().train()
    before = [parameter.clone() for parameter in model.parameters()]
    explained(model, cnn_couplings(), evidence(20))
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_it_does_not_depend_on_the_batch() -> None:
    some, all_at_once = (explained(cnn(), cnn_couplings(), evidence(60), batch_size=size)["fc1"] for size in (7, 60))
    assert torch.equal(some, all_at_once)


@pytest.mark.parametrize("ridge", [1e-3, 10.0])
def test_with_a_strong_ridge_no_unit_stands_in_for_another(ridge: float) -> None:
    """Then only a unit's own strength counts: the twin of a strong unit comes second and not last."""
    strong = torch.tensor([[4.0, 4.0, 0.1], [4.0, 4.0, 0.1], [0.1, 0.1, 1.0]], dtype=torch.float64)
    order = greedy_order(strong, torch.eye(3, dtype=torch.float64), ridge)
    assert order == ([0, 2, 1] if ridge < 1 else [0, 1, 2])

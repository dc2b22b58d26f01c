"""Many nets that differ: who is trained with whom, the rule, and that each comes out as it would alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from brittle.errors import DataError, UsageError
from brittle.models.recipe import Recipe, build
from brittle.training.engine import train
from brittle.training.ensemble import at_once_by_rule, many, train_many
from brittle.training.ensemble.rule import numbers_in_a_step
from brittle.training.plan import Dynamics, Plan, Weighted
from tests.training.toys import Counting, digits, mlp

FEW = 70
BASE = Dynamics(2, batch_size=32, learning_rate=3e-3)
PLAIN, PULLED = Plan(BASE), Plan(BASE, penalties=(Weighted("l1", 0.1),))
X = torch.rand(1, 1, 8, 8)


def dropped() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Dropout(0.3), nn.Linear(12, 10))


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the stacks that are trained."""
    sizes: list[int] = []
    inner = many.train_stack

    def counted(models: Any, *others: Any, **more: Any) -> Any:
        sizes.append(len(models))
        return inner(models, *others, **more)

    monkeypatch.setattr(many, "train_stack", counted)
    return sizes


def check_alone(models: list[nn.Module], plans: list[Plan], seeds: list[int], **more: Any) -> None:
    """`train_many` gives what `train` gives, member by member."""
    models = [model.double() for model in models]
    alone = copy.deepcopy(models)
    results = train_many(models, *digits(FEW), plans, seeds, **more)
    for m, result in enumerate(results):
        assert result.model is models[m]
        expected = train(alone[m], *digits(FEW), plans[m], seed=seeds[m])
        for a, b in zip(expected.model.parameters(), result.model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
        assert result.history.settings == expected.history.settings
        assert [row.epoch for row in result.history.rows] == [row.epoch for row in expected.history.rows]


def test_members_are_sorted_into_stacks_and_come_back_in_order(stacks: list[int]) -> None:
    models = [mlp(8), mlp(12), mlp(8), mlp(8), dropped(), mlp(12), dropped(), mlp(8)]
    plans = [PLAIN, PLAIN, PULLED, replace(PLAIN, dynamics=replace(BASE, learning_rate=1e-2)), *[PLAIN] * 3, PULLED]
    check_alone(models, plans, [5, 6, 7, 8, 9, 10, 11, 12])
    assert sorted(stacks) == [2, 2, 2]


def test_what_is_not_known_to_stack_is_trained_alone(stacks: list[int]) -> None:
    plans = [Plan(BASE, Counting())] * 2 + [Plan(replace(BASE, optimiser="muon"))] * 2
    check_alone([mlp() for _ in range(4)], plans, [1, 2, 3, 4], at_once=4)
    assert stacks == []


@pytest.mark.parametrize(("at_once", "sizes"), [(1, []), (2, [2, 2]), (4, [3, 2]), (5, [5]), (9, [5])])
def test_no_stack_is_larger_than_asked_for(stacks: list[int], at_once: int, sizes: list[int]) -> None:
    check_alone([mlp(8) for _ in range(5)], [PLAIN] * 5, [1, 2, 3, 4, 5], at_once=at_once)
    assert stacks == sizes


def test_progress_counts_the_epochs_of_all_members() -> None:
    seen: list[tuple[str, int, int]] = []
    models = [mlp(8), mlp(8), mlp(8), dropped()]
    longer = Plan(replace(BASE, epochs=3))
    train_many(models, *digits(FEW), [PLAIN, PLAIN, longer, PLAIN], range(4), progress=lambda *t: seen.append(t))
    assert seen == [("training", done, 9) for done in (2, 4, 5, 6, 7, 8, 9)]
    remarks: list[tuple[str, int, int]] = []
    many._from(lambda *told: remarks.append(told), 4, 2, 9)("a remark", 0, 0)
    assert remarks == [("a remark", 0, 0)]


def test_a_recipe_is_built_with_each_seed() -> None:
    recipe = Recipe("mlp", (1, 8, 8), 10, {"width": 8})
    (first, second) = train_many(recipe, *digits(FEW), [PLAIN] * 2, (5, 6))
    expected = train(build(recipe, seed=6), *digits(FEW), PLAIN, seed=6).model
    for a, b in zip(expected.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not torch.equal(first.model.fc1.weight, second.model.fc1.weight)


def test_bad_input_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="at_once is the most nets of a stack, at least 1, got 0: leave it out"):
        train_many([mlp()], *digits(FEW), [PLAIN], [0], at_once=0)
    with pytest.raises(UsageError, match=r"one seed for each member, got 1, 2 and 1$"):
        train_many([mlp()], *digits(FEW), [PLAIN] * 2, [0])
    models = [mlp(), build(Recipe("mlp", (1, 8, 8), 4, {"width": 8}), seed=0)]
    before = copy.deepcopy(models[0].fc1.weight)
    with pytest.raises(DataError, match="the model has 4 classes, the data have labels up to 9"):
        train_many(models, *digits(FEW), [PLAIN] * 2, [0, 1])
    assert torch.equal(before, models[0].fc1.weight)


def test_the_numbers_of_a_step_are_weights_and_outputs() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    net[1].bias.requires_grad_(False)
    weights, outputs = 64 * 12 + 12 * 10 + 10, 64 + 12 + 12 + 10
    assert numbers_in_a_step(net, X, 5) == weights + 5 * outputs
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(RuntimeError):
        numbers_in_a_step(net, X[..., :3], 5)
    assert not any(module._forward_hooks for module in net.modules())


def test_the_rule_knows_size_alone() -> None:
    sizes = {width: at_once_by_rule(mlp(width, 2), X, 64) for width in (16, 64, 256, 512)}
    assert sizes[16] >= sizes[64] >= 32, "small nets go together"
    assert sizes[64] > sizes[256] > 1
    assert sizes[512] == 1, "large ones do not"
    assert at_once_by_rule(mlp(64, 2), X, 4096) == 1, "nor do small ones with large batches"
    assert at_once_by_rule(mlp(64, 2), X, 64) == sizes[64]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("recipe", ["mlp", "cnn"])
def test_an_ensemble_on_cuda_is_the_one_on_the_cpu(recipe: str) -> None:
    nets = [build(Recipe(recipe, (1, 8, 8), 10), seed=seed).double() for seed in range(3)]
    there = copy.deepcopy(nets)
    for device, models in (("cpu", nets), ("cuda", there)):
        train_many(models, *digits(FEW), [PULLED] * 3, [1, 2, 3], at_once=3, device=device)
    for a, b in zip(nets, there, strict=True):
        assert _far(a, b) < 1e-6


def _far(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    far: Tensor = max((p.detach().cpu() - q.detach().cpu()).abs().max() for p, q in pairs)
    return float(far)

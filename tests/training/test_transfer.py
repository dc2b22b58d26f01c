"""Transfer: the encoder stays or is tuned, the head is the target's own, records are of the right nets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.models.file import load, save
from brittle.models.recipe import Recipe, build
from brittle.threats import ball
from brittle.training.head import representation
from brittle.training.plan import Dynamics, Plan
from brittle.training.tracking import Tracker
from brittle.training.transfer import compare_tasks, transfer, with_head
from tests.small_nets import trained
from tests.training.toys import digits


def parity(split: Split) -> Split:
    """Another task on the same images: odd or even."""
    return Split(split.x, split.y % 2)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def accuracy(model: nn.Module, split: Split) -> float:
    with torch.no_grad():
        return float((model(split.x).argmax(1) == split.y).double().mean())


def test_a_frozen_encoder_stays_and_its_head_is_the_logistic_regression() -> None:
    source = trained()
    before = state(source)
    train, validation = (parity(split) for split in digits())
    child = transfer(source, train, validation, classes=2, seed=0, penalty=1e-2)
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())
    own = child.state_dict()
    assert {name for name in own if not torch.equal(own[name], before[name])} == {"head.weight", "head.bias"}
    assert not child.training
    features = representation(child, "head", train.x, 256).double()
    z = ((features - features.mean(0)) / (features - features.mean(0)).square().mean().sqrt()).numpy()
    # Two softmax rows share the penalty, so the difference of logits meets twice sklearn's C.
    reference = LogisticRegression(C=2 / (1e-2 * len(z)), tol=1e-10, max_iter=10_000).fit(z, train.y.numpy())
    with torch.no_grad():
        odd = child(train.x).softmax(1)[:, 1].double()
    assert odd.numpy() == pytest.approx(reference.predict_proba(z)[:, 1], abs=1e-4)
    assert accuracy(child, validation) > 0.8


def test_fine_tuning_moves_the_encoder_by_the_plan_and_repeats_itself() -> None:
    source = trained()
    train, validation = (parity(split) for split in digits(200))
    plan = Plan(Dynamics(epochs=2, learning_rate=1e-3))
    one, two = (transfer(source, train, validation, classes=2, plan=plan, seed=3) for _ in range(2))
    assert not torch.equal(one.state_dict()["fc1.weight"], source.state_dict()["fc1.weight"])
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    frozen_one = transfer(source, train, validation, classes=2, seed=3)
    assert accuracy(one, validation) >= accuracy(frozen_one, validation) - 0.05


def test_the_recipe_follows_so_that_the_child_can_be_saved(tmp_path: Path) -> None:
    train, validation = (parity(split) for split in digits(60))
    child = transfer(trained(), train, validation, classes=2, seed=0)
    save(child, tmp_path / "child.safetensors")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "child.safetensors")(train.x), child(train.x))


def test_a_new_head_is_drawn_from_the_seed_within_its_bound_and_an_own_one_is_kept() -> None:
    source, x = trained(), digits(4)[0].x
    assert torch.equal(
        with_head(source, x, 10, seed=0).get_parameter("head.weight"), source.get_parameter("head.weight")
    )
    one, same, other = (with_head(source, x, 3, seed=seed).get_parameter("head.weight").detach() for seed in (0, 0, 1))
    assert one.shape == (3, 16)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert 0.5 * 16**-0.5 < float(one.abs().max()) <= 16**-0.5


def test_records_are_of_the_two_nets_on_their_own_tasks() -> None:
    source = trained()
    train, validation = digits()
    target = parity(validation)
    child = transfer(source, parity(train), target, classes=2, seed=0)
    tracker = Tracker(threats=(ball("linf", 0.05),), samples=len(validation))
    record = compare_tasks(source, child, validation, target, tracker, seed=0)
    assert record.source.clean == pytest.approx(accuracy(source, validation))
    assert record.target.clean == pytest.approx(accuracy(child, target))
    for seen in (record.source, record.target):
        assert seen.n == len(validation)
        assert 0 <= seen.attacked[0].accuracy <= seen.clean
        assert [layer.name for layer in record.encoder(seen)] == ["fc1", "fc2"]
    assert record.encoder(record.source) == record.encoder(record.target)
    assert record.head == "head"
    assert record.source.layers[-1].shape != record.target.layers[-1].shape


def test_refusals() -> None:
    source = trained()
    train, validation = digits(20)
    with pytest.raises(UsageError, match=r"at least 2 classes .*, got 5 and labels up to 9: give the number"):
        transfer(source, train, validation, classes=5, seed=0)
    zeros = Split(train.x, train.y * 0)
    with pytest.raises(UsageError, match="got 1 and labels up to 0"):
        transfer(source, zeros, zeros, classes=1, seed=0)
    wide = Split(torch.rand(4, 1, 28, 28), torch.arange(4))
    with pytest.raises(ModelError, match=r"\(1, 28, 28\) .*: bring the target to the shape of the source"):
        transfer(source, wide, wide, classes=10, seed=0)
    with pytest.raises(ModelError, match="bring the target to the shape"):
        compare_tasks(source, source, train, wide, Tracker(samples=4), seed=0)
    with pytest.raises(ModelError, match="no linear head"):
        transfer(nn.Sequential(source, nn.Softmax(1)), train, validation, classes=10, seed=0)
    low = build(Recipe("mlp", (1, 8, 8), 10, {"widths": [8], "ranks": [2, 3]}), seed=0)
    with pytest.raises(ModelError, match="'head' is of low rank and has 10 logits, not 2: factorise it after"):
        transfer(low, parity(train), parity(validation), classes=2, seed=0)

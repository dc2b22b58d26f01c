"""The training loop: it learns, repeats itself, keeps the best epoch and stops cleanly."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from brittle.data.load import load_data
from brittle.data.split import Split
from brittle.errors import ModelError, UsageError
from brittle.models.recipe import Recipe, build
from brittle.training.loop import Budget, fit


@pytest.fixture(scope="module")
def parts() -> tuple[Split, Split]:
    data = load_data("digits")
    return data.split("train"), data.split("validation")


def net(width: int = 16) -> nn.Module:
    return build(Recipe("mlp", (1, 8, 8), 10, {"width": width, "depth": 1}), seed=0)


def accuracy(model: nn.Module, split: Split) -> float:
    with torch.no_grad():
        return float((model(split.x).argmax(1) == split.y).double().mean())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_digits_in_place_and_ends_in_eval_mode(parts: tuple[Split, Split]) -> None:
    model = net()
    assert fit(model, *parts, Budget(epochs=8, learning_rate=1e-2), seed=0) is model
    assert accuracy(model, parts[1]) > 0.85
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_the_seed_decides_everything_dropout_too(parts: tuple[Split, Split]) -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        torch.rand(seed + 1)  # the global state must not matter
        model = nn.Sequential(copy.deepcopy(net()), nn.Dropout(0.5))
        return fit(model, *parts, Budget(epochs=1), seed=seed).state_dict()

    first = trained(3)
    assert same(first, trained(3))
    assert not same(first, trained(4))


def test_dropout_draws_other_numbers_with_another_seed(parts: tuple[Split, Split]) -> None:
    few = Split(parts[0].x[:8], parts[0].y[:8])  # one batch: the order of the samples cannot matter

    def trained(seed: int) -> Tensor:
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), copy.deepcopy(net())[1:])
        return fit(model, few, parts[1], Budget(epochs=1), seed=seed).state_dict()["2.head.bias"]

    assert float((trained(0) - trained(1)).abs().max()) > 1e-6


def test_the_global_random_state_is_left_alone(parts: tuple[Split, Split]) -> None:
    state = torch.random.get_rng_state()
    fit(nn.Sequential(net(), nn.Dropout(0.5)), *parts, Budget(epochs=1), seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_best_epoch_on_validation_is_what_comes_back(parts: tuple[Split, Split]) -> None:
    model, seen = net(), []

    def watch(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("training", 12)
        with torch.no_grad():
            loss = float(nn.functional.cross_entropy(model(parts[1].x), parts[1].y))
        seen.append(((accuracy(model, parts[1]), -loss), copy.deepcopy(model.state_dict())))
        assert len(seen) == done

    fit(model, *parts, Budget(epochs=12, learning_rate=0.3), seed=1, progress=watch)  # so fast that epochs get worse
    scores = [score for score, _ in seen]
    best = scores.index(max(scores))
    assert best != len(scores) - 1, "choose a setting where the last epoch is not the best"
    assert same(model.state_dict(), seen[best][1])


@pytest.mark.parametrize("rate", [1e12, 1e30])
def test_a_diverging_loss_is_one_clear_error_and_leaves_finite_weights(parts: tuple[Split, Split], rate: float) -> None:
    model = net()
    with pytest.raises(
        UsageError, match=r"^the loss is (nan|inf) at step \d+ in epoch \d of 5: lower the learning rate \(1e\+\d\d\)$"
    ):
        fit(model, *parts, Budget(epochs=5, learning_rate=rate), seed=0)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert not model.training


def test_a_loss_that_only_validation_sees_diverge_is_an_error_too(parts: tuple[Split, Split]) -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            return y if self.training else y * torch.nan

    with pytest.raises(UsageError, match="the validation loss is nan at step 17 in epoch 1 of 2"):
        fit(Fragile(), *parts, Budget(epochs=2), seed=0)


def test_a_last_batch_of_one_does_not_stop_batch_norm(parts: tuple[Split, Split]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    few = Split(parts[0].x[:65], parts[0].y[:65])
    before = model[1].weight.detach().clone()
    fit(model, few, parts[1], Budget(epochs=1, batch_size=64), seed=0)
    assert bool(torch.isfinite(model[1].weight).all())
    assert not torch.equal(model[1].weight, before)


def test_a_single_sample_is_trained_on() -> None:
    one = Split(torch.rand(1, 1, 8, 8), torch.tensor([3]))
    model = fit(net(), one, one, Budget(epochs=30, learning_rate=1e-2), seed=0)
    assert accuracy(model, one) == 1.0


def test_the_model_keeps_its_number_format(parts: tuple[Split, Split]) -> None:
    model = fit(net().double(), *parts, Budget(epochs=1), seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs and batch size must be at least 1, got 0 and 64"),
        ({"epochs": 1, "batch_size": 0}, "epochs and batch size must be at least 1, got 1 and 0"),
        ({"epochs": 1, "learning_rate": 0.0}, "learning rate must be > 0 and weight decay >= 0, got 0.0"),
        ({"epochs": 1, "learning_rate": float("nan")}, "learning rate must be > 0"),
        ({"epochs": 1, "weight_decay": -1.0}, "weight decay >= 0, got 0.001 and -1.0"),
    ],
)
def test_budgets_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(**values)  # type: ignore[arg-type]


def test_a_model_without_parameters_is_refused(parts: tuple[Split, Split]) -> None:
    with pytest.raises(ModelError, match="no parameters: nothing to train"):
        fit(nn.Flatten(), *parts, Budget(epochs=1), seed=0)

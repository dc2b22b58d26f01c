"""The head fitted again: against scikit-learn's logistic regression, and unchanged by the representation's scale."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from brittle.data.load import load_data
from brittle.errors import ModelError, UsageError
from brittle.models.pixels import Pixels
from brittle.models.recipe import Recipe, build
from brittle.training.head import head_name, refit_head, representation

SHAPE = (1, 8, 8)


def samples(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    train = load_data("digits").split("train").take(n, 0)
    return train.x, train.y


def net(**options: object) -> nn.Module:
    return build(Recipe("mlp", SHAPE, 10, {"widths": [20, 12], **options}), seed=0)


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_logistic_regression_of_scikit_learn(bias: bool) -> None:
    x, y = samples()
    model, penalty = net(bias=bias), 1e-3
    before = copy.deepcopy(model.state_dict())
    refitted = refit_head(model, x, y, penalty=penalty, batch_size=64)
    features = representation(model, "head", x, 500).double().numpy()
    scale = np.sqrt(((features - features.mean(0)) ** 2).mean())
    reference = LogisticRegression(C=1 / (penalty * len(y)), fit_intercept=bias, tol=1e-10, max_iter=20_000)
    reference.fit(features / scale, y.numpy())
    expected = reference.decision_function(features / scale)
    found = refitted(x).detach().double().numpy()
    centred = [z - z.mean(1, keepdims=True) for z in (found, expected)]
    np.testing.assert_allclose(*centred, atol=2e-3 * np.abs(expected).max())
    for key, value in refitted.state_dict().items():
        assert torch.equal(value, before[key]) == (not key.startswith("head")), key
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "the original stays"


def test_neither_scale_of_the_representation_nor_batch_size_matters() -> None:
    x, y = samples()
    model = net()
    scaled = copy.deepcopy(model)
    with torch.no_grad():  # ReLU: the whole representation is 40 times as long
        scaled.fc2.weight.mul_(40)
        scaled.fc2.bias.mul_(40)
    logits = refit_head(model, x, y, batch_size=300)(x)
    assert torch.allclose(refit_head(scaled, x, y, batch_size=300)(x), logits, atol=2e-2)
    assert torch.allclose(refit_head(model, x, y, batch_size=7)(x), logits, atol=2e-2)
    # One whose head started elsewhere ends at the same place.
    with torch.no_grad():
        model.head.weight.normal_()
    assert torch.allclose(refit_head(model, x, y, batch_size=300)(x), logits, atol=2e-2)


def test_a_stronger_penalty_gives_a_shorter_head_and_the_fit_beats_the_start() -> None:
    x, y = samples()
    heads = [refit_head(net(), x, y, penalty=penalty, batch_size=300) for penalty in (1e-4, 1e-1)]
    assert heads[1].head.weight.norm() < heads[0].head.weight.norm() / 2
    before, after = (float((model(x).argmax(1) == y).float().mean()) for model in (net(), heads[0]))
    assert after > max(0.6, before)


def test_the_head_is_found_by_what_it_puts_out() -> None:
    x = torch.rand(3, *SHAPE)
    assert head_name(net(), x) == "head"
    assert head_name(Pixels(0.5, 0.5, net()), x) == "model.head"
    assert head_name(net(ranks=[0, 0, 4]), x) == "head.second"

    class Backwards(nn.Module):
        """Its head is registered first."""

        def __init__(self) -> None:
            super().__init__()
            self.out, self.inner = nn.Linear(5, 3), nn.Linear(64, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.inner(x.flatten(1)).relu())

    assert head_name(Backwards(), x) == "out"


class Odd(nn.Module):
    """Logits that are not a linear layer's outputs."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.fc = kind, nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.fc(x.flatten(1))
        if self.kind == "scaled in place":
            z /= 2
        return {"tanh": lambda: z.tanh(), "twice": lambda: self.fc(z), "scaled in place": lambda: z}[self.kind]()


@pytest.mark.parametrize("kind", ["tanh", "twice", "scaled in place"])
def test_a_net_without_a_linear_head_is_refused(kind: str) -> None:
    with pytest.raises(ModelError, match="no linear head"):
        refit_head(Odd(kind), *samples(10), batch_size=10)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in Odd(kind).modules())


def test_hooks_and_modes_are_put_back() -> None:
    model = net().train()
    head_name(model, samples(4)[0])
    representation(model, "head", samples(4)[0], 2)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_bad_input_is_refused() -> None:
    x, y = samples(10)
    for penalty in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="positive number, got"):
            refit_head(net(), x, y, penalty=penalty, batch_size=10)
    with pytest.raises(UsageError, match="batch size"):
        refit_head(net(), x, y, batch_size=0)
    with pytest.raises(ModelError, match="no layer 'top'"):
        representation(net(), "top", x, 10)
    broken = net()
    broken.fc1.weight.data[:] = torch.inf
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        refit_head(broken, x, y, batch_size=10)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x[:, 0]).mean(1)

    with pytest.raises(ModelError, match=r"one vector for each of 10 samples at 'fc', got shape \(10, 8, 8\)"):
        representation(Tokens(), "fc", x, 10)

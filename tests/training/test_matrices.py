"""Structure matrices: which layers, what they are, and that writing reaches the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from brittle.errors import UsageError
from brittle.models.layers import LowRankConv2d, LowRankLinear
from brittle.models.recipe import Recipe, build
from brittle.training.matrices import chosen_matrices, head_of, structure_matrices


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3, groups=2),
        LowRankConv2d(6, 5, 3, rank=2),
        nn.Flatten(),
        LowRankLinear(20, 8, rank=3),
        nn.Linear(8, 7),
        nn.Linear(7, 3),
    )


def names(model: nn.Module, patterns: tuple[str, ...] | None) -> list[str]:
    return [matrix.name for matrix in chosen_matrices(model, patterns)]


def test_each_layer_is_met_once_with_its_matrix() -> None:
    model = net()
    found = {matrix.name: matrix.tensor() for matrix in structure_matrices(model)}
    assert {k: tuple(v.shape) for k, v in found.items()} == {
        "0": (4, 9), "2": (6, 18), "3": (5, 54), "5": (8, 20), "6": (7, 8), "7": (3, 7)
    }  # fmt: skip
    assert torch.equal(found["2"][3], model[2].weight[3].reshape(-1))
    x = torch.randn(2, 20)
    torch.testing.assert_close(x @ found["5"].T + model[5].second.bias, model[5](x))
    low = model[3]
    dense = nn.functional.conv2d(torch.ones(1, 6, 3, 3), found["3"].view(5, 6, 3, 3), low.second.bias)
    torch.testing.assert_close(dense, low(torch.ones(1, 6, 3, 3)))


def test_gradients_reach_the_factors() -> None:
    model = net()
    sum(matrix.tensor().square().sum() for matrix in structure_matrices(model)).backward()
    low = model[5]
    w = (low.second.weight @ low.first.weight).detach()
    torch.testing.assert_close(low.first.weight.grad, 2 * low.second.weight.detach().T @ w)
    assert model[0].weight.grad is not None


def test_shared_weights_count_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert [m.name for m in structure_matrices(nn.Sequential(first, second, nn.Linear(3, 2)))] == ["0", "2"]


def test_what_is_written_is_what_is_read() -> None:
    for matrix in structure_matrices(net()):
        rank = min(matrix.tensor().shape) if not hasattr(matrix.module, "first") else len(matrix.module.first.weight)
        wanted = torch.randn(*matrix.tensor().shape, generator=torch.Generator().manual_seed(2))
        matrix.write(wanted)
        u, s, vt = torch.linalg.svd(wanted.double(), full_matrices=False)
        best = (u[:, :rank] * s[:rank]) @ vt[:rank]
        torch.testing.assert_close(matrix.tensor().double(), best, rtol=1e-4, atol=1e-5)


def test_rescaling_and_the_norm() -> None:
    for matrix in structure_matrices(net()):
        w = matrix.tensor().detach().double()
        assert matrix.frobenius() == pytest.approx(float(w.square().sum().sqrt()), rel=1e-6)
        matrix.rescale(0.3)
        torch.testing.assert_close(matrix.tensor().double(), 0.3 * w, rtol=1e-5, atol=1e-7)


def test_the_papers_choice_leaves_out_head_and_first_convolution() -> None:
    assert names(net(), None) == ["2", "3", "5", "6"]
    assert names(build(Recipe("mlp", (1, 8, 8), 10, {"depth": 2, "width": 4})), None) == ["fc1", "fc2"]
    assert names(build(Recipe("cnn", (1, 8, 8), 10, {"channels": [2, 3]})), None)[0] == "conv2"


def test_the_head_is_the_last_linear_layer_low_rank_too() -> None:
    model = net()
    assert head_of(model) is model[7]
    assert head_of(nn.Sequential(nn.Linear(4, 4), low := LowRankLinear(4, 3, rank=2))) is low
    assert head_of(nn.Conv2d(1, 1, 1)) is None


def test_patterns_match_whole_names() -> None:
    assert names(net(), ("[56]", "7")) == ["5", "6", "7"]
    model = build(Recipe("mlp", (1, 8, 8), 10, {"depth": 2, "width": 4}))
    assert names(model, ("fc*",)) == ["fc1", "fc2"]
    assert names(model, ("*",)) == ["fc1", "fc2", "head"]


def test_choices_of_nothing_are_refused_with_the_names() -> None:
    model = build(Recipe("mlp", (1, 8, 8), 10, {"depth": 2, "width": 4}))
    with pytest.raises(UsageError, match=r"^no layer matches 'conv\*': the model's layers are fc1, fc2, head$"):
        chosen_matrices(model, ("fc1", "conv*"))
    with pytest.raises(UsageError, match="no layers are named: give at least one pattern"):
        chosen_matrices(model, ())
    with pytest.raises(UsageError, match=r"no layer beside the head .* out of weight"):
        chosen_matrices(nn.Linear(3, 2), None)
    with pytest.raises(UsageError, match="the model's layers are none"):
        chosen_matrices(nn.Flatten(), ("x",))

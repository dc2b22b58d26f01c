"""Neuron pruning: which neurons stay, and that dead ones can go without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.factorise import factorise
from brittle.compression.prune import prune_neurons
from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.models.recipe import Recipe, build, recipe_of


def net(**more: object) -> nn.Module:
    recipe = Recipe("mlp", (1, 4, 4), 5, {"widths": [12, 9]}, **more)  # type: ignore[arg-type]
    return build(recipe, seed=3)


def dense(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def pixels() -> Tensor:
    return torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("more", [{}, {"mean": (0.5,), "std": (0.25,)}], ids=["plain", "normalised"])
def test_neurons_without_an_effect_go_without_a_trace(more: dict[str, object], tmp_path: Path) -> None:
    model = net(**more)
    layers = dense(model)
    with torch.no_grad():
        layers[1].weight[:, [0, 5, 11]] = 0  # three neurons of the first hidden layer reach nothing
        layers[2].weight[:, [2, 8]] = 0
    child = prune_neurons(model, (9, 7))
    assert [layer.out_features for layer in dense(child)] == [9, 7, 5]
    assert torch.allclose(child(pixels()), model(pixels()), atol=1e-6)
    save(child, tmp_path / "child.safetensors")
    assert torch.equal(load(tmp_path / "child.safetensors")(pixels()), child(pixels()))


def test_the_kept_neurons_have_the_largest_scores_and_keep_their_weights() -> None:
    model = net()
    layers, smaller = dense(model), dense(prune_neurons(model, (4, 9)))
    score = [(layers[0].weight[i].norm() * layers[1].weight[:, i].norm()).item() for i in range(12)]
    kept = sorted(sorted(range(12), key=lambda i: -score[i])[:4])
    assert torch.equal(smaller[0].weight, layers[0].weight[kept])
    assert torch.equal(smaller[0].bias, layers[0].bias[kept])
    assert torch.equal(smaller[1].weight, layers[1].weight[:, kept])
    assert torch.equal(smaller[2].weight, layers[2].weight)


def test_rescaling_a_relu_neuron_does_not_change_the_choice_in_its_layer() -> None:
    model = net()
    before = prune_neurons(model, (4, 9))(pixels())
    layers = dense(model)
    with torch.no_grad():
        for i, factor in enumerate(torch.linspace(0.01, 100, 12)):
            layers[0].weight[i] *= factor
            layers[0].bias[i] *= factor
            layers[1].weight[:, i] /= factor
    assert torch.allclose(prune_neurons(model, (4, 9))(pixels()), before, atol=1e-6)


def test_all_neurons_kept_is_the_same_function_and_the_original_is_left_alone() -> None:
    model = net().double()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    child = prune_neurons(model, (12, 9))
    assert {p.dtype for p in child.parameters()} == {torch.float64}
    assert torch.equal(child(pixels().double()), model(pixels().double()))
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_recipe_follows() -> None:
    model = build(Recipe("mlp", (1, 4, 4), 5, {"width": 8, "depth": 2, "activation": "tanh", "bias": False}))
    recipe = recipe_of(prune_neurons(model, (3, 4)))
    assert recipe == Recipe("mlp", (1, 4, 4), 5, {"widths": [3, 4], "activation": "tanh", "bias": False})


def test_refusals() -> None:
    for other in (nn.Sequential(nn.Linear(4, 3)), build(Recipe("cnn", (1, 8, 8), 5)), factorise(net(), {"fc1": 2})):
        with pytest.raises(ModelError, match="takes a dense zoo:mlp model; other architectures are not covered yet"):
            prune_neurons(other, (1,))
    for widths in ((4,), (4, 4, 4), (0, 4), (4, 10)):
        with pytest.raises(ModelError, match=r"widths must be one number from 1 up .* of \[12, 9\], got \["):
            prune_neurons(net(), widths)
    broken = net()
    with torch.no_grad():
        dense(broken)[1].weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"'fc2\.weight' holds NaN or infinity in 1 of"):
        prune_neurons(broken, (4, 4))

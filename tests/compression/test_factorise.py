"""Low-rank copies: the function at full rank, Eckart and Young below it, and a recipe that can be saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from brittle.compression.factorise import factorise
from brittle.errors import ModelError
from brittle.models.file import load, save
from brittle.models.layers import LowRankLinear
from brittle.models.recipe import Recipe, build, recipe_of

ZOO = {
    "mlp": Recipe("mlp", (1, 4, 4), 5, {"width": 12, "depth": 2}),
    "mlp, normalised": Recipe("mlp", (1, 4, 4), 5, {"width": 12}, (0.5,), (0.25,)),
    "cnn": Recipe("cnn", (2, 8, 8), 5, {"channels": [4, 6], "fc": [9]}),
    "resnet": Recipe("resnet", (3, 8, 8), 5, {"depth": 8, "width": 4}),
    "resnet, projections": Recipe("resnet", (3, 8, 8), 5, {"depth": 8, "width": 4, "shortcut": "conv"}),
}


def pixels(recipe: Recipe) -> Tensor:
    return torch.rand(6, *recipe.input_shape, generator=torch.Generator().manual_seed(0))


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Layers that a recipe gives ranks to, as matrices: shortcuts have none."""
    return {
        name: module.weight.detach().flatten(1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in name
    }


@pytest.mark.parametrize("name", ZOO)
def test_at_full_rank_the_function_stays(name: str) -> None:
    model = build(ZOO[name], seed=1)
    child = factorise(model, {layer: min(w.shape) for layer, w in weights(model).items()})
    x = pixels(ZOO[name])
    assert torch.allclose(child(x), model(x), atol=1e-5)


@pytest.mark.parametrize("name", ZOO)
def test_every_layer_can_be_saved_and_loaded_at_low_rank(name: str, tmp_path: Path) -> None:
    model = build(ZOO[name], seed=1)
    child = factorise(model, {layer: max(1, min(w.shape) // 2) for layer, w in weights(model).items()})
    save(child, tmp_path / "child.safetensors")
    again = load(tmp_path / "child.safetensors")
    x = pixels(ZOO[name])
    assert torch.equal(again(x), child(x))
    assert recipe_of(again) == recipe_of(child) != recipe_of(model)
    assert sum(p.numel() for p in child.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("layer", ["fc1", "head"])
def test_a_factorised_layer_is_the_best_approximation_and_the_others_stay(layer: str) -> None:
    model = build(ZOO["mlp"], seed=2)
    child = factorise(model, {layer: 3})
    low = child.get_submodule(layer)
    assert isinstance(low, LowRankLinear)
    W = model.get_submodule(layer).weight.double()
    rest = torch.linalg.svdvals(W)[3:]
    distance = (low.second.weight.double() @ low.first.weight.double() - W).norm()
    assert distance.item() == pytest.approx(rest.norm().item(), rel=1e-5)  # Eckart and Young
    before, after = weights(model), weights(child)
    assert all(torch.equal(before[other], after[other]) for other in before if other != layer)


def test_the_original_is_left_alone_and_shares_nothing() -> None:
    model = build(ZOO["mlp"], seed=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    child = factorise(model, {"fc1": 3})
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert recipe_of(model) == ZOO["mlp"]


def test_what_is_factorised_already_keeps_its_rank(tmp_path: Path) -> None:
    twice = factorise(factorise(build(ZOO["mlp"]), {"fc1": 3}), {"fc2": 4})
    recipe = recipe_of(twice)
    assert recipe is not None
    assert recipe.options["ranks"] == [3, 4, 0]
    save(twice, tmp_path / "twice.safetensors")


def test_a_foreign_module_needs_no_recipe_and_keeps_format_and_mode() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False)).double().train()
    child = factorise(model, {"0": 2, "2": 1})
    assert recipe_of(child) is None
    assert {p.dtype for p in child.parameters()} == {torch.float64}
    assert child.training
    assert child(torch.zeros(1, 6, dtype=torch.float64)).shape == (1, 4)


def test_refusals_name_the_layer_and_the_remedy() -> None:
    model = build(ZOO["mlp"])
    with pytest.raises(ModelError, match="no dense layer or convolution 'fc9' to factorise: expected one of fc1, fc2"):
        factorise(model, {"fc9": 1})
    for rank in (0, 13):
        with pytest.raises(ModelError, match=f"layer 'fc2': rank must be between 1 and 12.*, got {rank}"):
            factorise(model, {"fc2": rank})
    with pytest.raises(ModelError, match=r"'fc1.first' to factorise: expected one of fc2, head"):
        factorise(factorise(model, {"fc1": 3}), {"fc1.first": 1})  # a recipe cannot say that
    with pytest.raises(ModelError, match=r"'layer2.0.shortcut.0' to factorise"):
        factorise(build(ZOO["resnet, projections"]), {"layer2.0.shortcut.0": 1})
    with pytest.raises(ModelError, match="layer '0': a convolution with 2 groups cannot be factorised"):
        factorise(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), {"0": 1})
    with torch.no_grad():
        model.get_submodule("fc1").weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match="layer 'fc1': the layer's weights hold NaN or infinity"):
        factorise(model, {"fc1": 1})
